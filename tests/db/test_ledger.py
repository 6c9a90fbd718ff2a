"""Reservations within the budget, and a ledger that says once what was spent."""

import asyncio
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from app.db import access, audit_turn, auditing, endings, jobs, ledger, outcomes, requoting, schema, settling
from app.db.engine import Connection, Database
from app.db.jobs import Owner
from app.db.tables import ledger as entries
from app.db.tables import months, strays
from app.domain.errors import InsufficientQuota
from app.domain.job import Job
from app.domain.money import Estimate
from app.domain.states import JobState
from app.domain.transactions import Charge, Difference
from tests.db.conftest import T0, MakeJob, accept, admit, generating, later, sending

NOVEMBER, DECEMBER = "2026-11", "2026-12"
USD = 1_000_000
PRICE = 2_500_000


@pytest.fixture
def budget(conn: Connection, project_id: str) -> None:
    """Room for two jobs in a month."""
    access.limit_project(conn, "film", monthly_budget_micros=2 * PRICE)


@pytest.fixture
def reserved(conn: Connection, make_job: MakeJob) -> MakeJob:
    """Make a job as a create does, with its reservation."""

    def make(**given: Any) -> Job:
        job = make_job(**{"estimated_micros": PRICE, "reserved_micros": PRICE} | given)
        ledger.reserve(conn, job)
        return job

    return make


def stands(conn: Connection, project_id: str, month: str = NOVEMBER) -> tuple[int, int]:
    """Return what is reserved and spent, once the sums are up to date."""
    ledger.book_sums(conn)
    found = ledger.read_month(conn, project_id, datetime.fromisoformat(f"{month}-15T00:00:00+00:00"))
    return found.reserved_micros, found.spent_micros


def written(conn: Connection) -> list[tuple[str, str, int]]:
    query = sa.select(entries.c.kind, entries.c.source, entries.c.micros).order_by(entries.c.id)
    return [(row[0], row[1], row[2]) for row in conn.execute(query)]


@pytest.mark.usefixtures("budget")
def test_reserve__takes_what_fits_and_not_a_cent_more(conn: Connection, reserved: MakeJob, project_id: str) -> None:
    reserved()
    reserved()
    with pytest.raises(InsufficientQuota) as refused:
        reserved(estimated_micros=1, reserved_micros=1)
    assert "0.0 USD are left" in refused.value.message
    assert refused.value.retry_after == 7 * 86_400 + 12 * 3600
    assert stands(conn, project_id) == (2 * PRICE, 0)


@pytest.mark.usefixtures("budget")
def test_reserve__a_first_job_dearer_than_the_budget_is_refused(
    conn: Connection, reserved: MakeJob, project_id: str
) -> None:
    with pytest.raises(InsufficientQuota):
        reserved(reserved_micros=2 * PRICE + 1)
    assert stands(conn, project_id) == (0, 0)
    reserved(reserved_micros=2 * PRICE)
    assert stands(conn, project_id) == (2 * PRICE, 0)


def test_reserve__without_a_budget_there_is_no_cap(conn: Connection, reserved: MakeJob, project_id: str) -> None:
    for _ in range(5):
        reserved()
    assert stands(conn, project_id) == (5 * PRICE, 0)


@pytest.mark.usefixtures("budget")
def test_reserve__each_month_has_its_own_room(conn: Connection, reserved: MakeJob, project_id: str) -> None:
    for _ in range(2):
        reserved(created_at=datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC))
    reserved(created_at=datetime(2026, 12, 1, tzinfo=UTC))
    assert (stands(conn, project_id), stands(conn, project_id, DECEMBER)) == ((2 * PRICE, 0), (PRICE, 0))


@pytest.mark.usefixtures("budget")
def test_charge__stays_in_the_month_of_its_reservation(conn: Connection, reserved: MakeJob, project_id: str) -> None:
    reserved(created_at=datetime(2026, 11, 30, 23, 59, tzinfo=UTC))
    job = generating(conn, credits_used=None)
    outcomes.completed(conn, job, url="https://v", credits_used=2 * PRICE, now=datetime(2026, 12, 1, 1, tzinfo=UTC))
    assert (stands(conn, project_id), stands(conn, project_id, DECEMBER)) == ((0, PRICE), (0, 0))


@pytest.mark.parametrize(
    ("at_submit", "at_end", "told"),
    [
        (None, None, [("charge", "estimate", PRICE)]),
        (PRICE, None, [("charge", "submission", PRICE)]),
        (None, PRICE, [("charge", "generation", PRICE)]),
        (PRICE, PRICE, [("charge", "submission", PRICE)]),
        (PRICE, 3 * USD, [("charge", "submission", PRICE), ("adjustment", "generation", USD // 2)]),
    ],
)
def test_charge__is_booked_once_whoever_reports_it(
    conn: Connection,
    reserved: MakeJob,
    project_id: str,
    at_submit: int | None,
    at_end: int | None,
    told: list[tuple[str, str, int]],
) -> None:
    reserved()
    job = generating(conn, credits_used=at_submit and 2 * at_submit)
    assert stands(conn, project_id) == ((0, at_submit) if at_submit else (PRICE, 0))
    outcomes.completed(conn, job, url="https://v", credits_used=at_end and 2 * at_end, now=T0)
    assert written(conn) == told
    assert stands(conn, project_id) == (0, sum(micros for _, _, micros in told))


def test_charge__another_word_of_the_same_source_replaces_the_first(
    conn: Connection, reserved: MakeJob, project_id: str
) -> None:
    reserved()
    job = generating(conn, credits_used=2 * PRICE)
    for micros in (3 * USD, 4 * USD, 4 * USD):
        changes = {"charged_micros": micros, "charge_basis": "reported", "settled": True}
        jobs.note(conn, job, type="job.charge_corrected", now=T0, data={"told_by": "transactions"}, **changes)
    assert written(conn) == [("charge", "submission", PRICE), ("adjustment", "transactions", 4 * USD - PRICE)]
    assert stands(conn, project_id) == (0, 4 * USD)


@pytest.mark.parametrize("credits_used", [None, 2 * PRICE])
def test_failure__gives_everything_back(
    conn: Connection, reserved: MakeJob, project_id: str, credits_used: int | None
) -> None:
    reserved()
    job = generating(conn, credits_used=credits_used)
    outcomes.generation_failed(conn, job, code="upstream_failed", message="No.", credits_used=None, now=T0)
    assert stands(conn, project_id) == (0, 0)
    assert sum(micros for _, _, micros in written(conn)) == 0


def test_cancel__of_a_queued_job_releases(conn: Connection, reserved: MakeJob, project_id: str) -> None:
    job = reserved()
    jobs.cancel(conn, job.id, owner=Owner(project_id=project_id), now=T0)
    assert stands(conn, project_id) == (0, 0)


def test_requeue__keeps_the_reservation(conn: Connection, reserved: MakeJob, project_id: str) -> None:
    reserved()
    [(job, _)] = admit(conn)
    settling.withdraw(conn, job, now=T0, due_at=T0, reason=None)
    assert stands(conn, project_id) == (PRICE, 0)


def test_unconfirmed__still_holds_its_money(conn: Connection, reserved: MakeJob, project_id: str) -> None:
    reserved()
    job, _ = sending(conn)
    moved = settling.settle(conn, job.id, now=T0, lease_token=job.lease_token)
    assert moved is not None
    assert moved.state is JobState.UNCONFIRMED
    assert stands(conn, project_id) == (PRICE, 0)


def test_unknown_price__what_was_reserved_is_charged_where_nobody_says_more(
    conn: Connection, reserved: MakeJob, project_id: str
) -> None:
    reserved(estimated_micros=None, reserved_micros=5 * USD)
    outcomes.completed(conn, generating(conn), url="https://v", credits_used=None, now=T0)
    assert (written(conn), stands(conn, project_id)) == ([("charge", "estimate", 5 * USD)], (0, 5 * USD))


@pytest.mark.usefixtures("budget")
def test_overrun__is_booked_in_full_and_takes_no_new_jobs(conn: Connection, reserved: MakeJob, project_id: str) -> None:
    reserved()
    outcomes.completed(conn, generating(conn), url="https://v", credits_used=2 * 9 * USD, now=T0)
    assert stands(conn, project_id) == (0, 9 * USD)
    assert ledger.read_month(conn, project_id, T0).remaining_micros == 2 * PRICE - 9 * USD
    with pytest.raises(InsufficientQuota):
        reserved(reserved_micros=0)


@pytest.mark.usefixtures("budget")
def test_requote__reserves_the_rise_within_budget(conn: Connection, reserved: MakeJob, project_id: str) -> None:
    reserved()
    [(job, _)] = admit(conn)
    assert requoting.requote(conn, job, Estimate(4 * USD, "price_list"), now=T0) is None
    seen = jobs.lock(conn, job.id)
    assert (seen.estimated_micros, seen.reserved_micros, stands(conn, project_id)) == (4 * USD, 4 * USD, (4 * USD, 0))


@pytest.mark.usefixtures("budget")
def test_requote__refuses_what_budget_or_cap_do_not_allow(conn: Connection, reserved: MakeJob, project_id: str) -> None:
    reserved(max_cost_micros=3 * USD)
    [(job, _)] = admit(conn)
    assert requoting.requote(conn, job, Estimate(3 * USD, "price_list"), now=T0) is None
    above_cap = requoting.requote(conn, job, Estimate(3 * USD + 1, "price_list"), now=T0)
    assert above_cap is not None
    assert "max_cost_usd" in above_cap
    conn.execute(sa.update(jobs.jobs).values(max_cost_micros=None))
    above_budget = requoting.requote(conn, job, Estimate(2 * PRICE + 1, "price_list"), now=T0)
    assert above_budget is not None
    assert "budget for 2026-11" in above_budget
    assert stands(conn, project_id) == (3 * USD, 0)


def test_requote__a_lost_lease_changes_nothing(conn: Connection, reserved: MakeJob, project_id: str) -> None:
    reserved()
    [(job, _)] = admit(conn)
    late = replace(job, lease_token="of another")
    assert requoting.requote(conn, late, Estimate(2 * PRICE, "price_list"), now=T0) is None
    assert (jobs.lock(conn, job.id).estimated_micros, stands(conn, project_id)) == (PRICE, (PRICE, 0))


@pytest.mark.usefixtures("budget")
def test_month_in_all__an_archived_project_counts_if_it_used_something(conn: Connection, reserved: MakeJob) -> None:
    old = access.create_project(conn, "old", now=T0)
    access.archive_project(conn, "old", now=T0)
    unused = ledger.month_in_all(conn, T0)
    assert (unused.budget_micros, unused.reserved_micros, unused.spent_micros) == (2 * PRICE, 0, 0)
    reserved(project_id=old.id)
    ledger.book_sums(conn)
    assert ledger.month_in_all(conn, T0).budget_micros is None


def test_requote__lower_or_unknown_changes_nothing(conn: Connection, reserved: MakeJob, project_id: str) -> None:
    job = reserved()
    assert not requoting.has_risen(job, Estimate(PRICE, "price_list"))
    assert not requoting.has_risen(job, Estimate(None, "unknown"))


def test_limit_project__below_what_is_reserved_only_takes_no_more(
    conn: Connection, reserved: MakeJob, project_id: str
) -> None:
    reserved()
    access.limit_project(conn, "film", monthly_budget_micros=1)
    with pytest.raises(InsufficientQuota):
        reserved()
    access.limit_project(conn, "film", monthly_budget_micros=None)
    reserved()
    assert stands(conn, project_id) == (2 * PRICE, 0)


def test_delete__keeps_what_was_spent(conn: Connection, reserved: MakeJob, project_id: str) -> None:
    reserved()
    job = generating(conn, credits_used=2 * PRICE)
    ended = outcomes.ended_without_video(
        conn, job, code="content_filtered", message="No.", cost={"settled": True}, now=T0
    )
    assert ended is not None
    endings.scrub(conn, ended, now=T0)
    assert (written(conn), stands(conn, project_id)) == ([("charge", "submission", PRICE)], (0, PRICE))


async def test_sums__are_brought_up_to_date_with_each_transaction(database: Database) -> None:
    def begin(conn: Connection) -> tuple[Job, str]:
        project_id = access.create_project(conn, "film", now=T0).id
        values = {"id": "job_1", "project_id": project_id, "model": "veo2", "input": {}, "upstream_path": "/"}
        job = jobs.insert(conn, Job(**values, due_at=T0, created_at=T0, reserved_micros=PRICE))
        ledger.reserve(conn, job)
        return job, project_id

    job, project_id = await database.write(begin)
    await database.write(lambda conn: jobs.cancel(conn, job.id, owner=Owner(project_id=project_id), now=T0))
    found = await database.read(lambda conn: ledger.read_month(conn, project_id, T0))
    assert (found.reserved_micros, found.spent_micros) == (0, 0)


async def test_sums__of_a_transaction_that_failed_are_forgotten(database: Database) -> None:
    def begin(conn: Connection) -> Job:
        project_id = access.create_project(conn, "film", now=T0).id
        values = {"id": "job_1", "project_id": project_id, "model": "veo2", "input": {}, "upstream_path": "/"}
        job = jobs.insert(conn, Job(**values, due_at=T0, created_at=T0, reserved_micros=PRICE))
        ledger.reserve(conn, job)
        return job

    job = await database.write(begin)

    def broken(conn: Connection) -> None:
        jobs.cancel(conn, job.id, owner=Owner(project_id=job.project_id), now=T0)
        raise LookupError

    with pytest.raises(LookupError):
        await database.write(broken)
    await database.write(lambda conn: None)
    found = await database.read(lambda conn: ledger.read_month(conn, job.project_id, T0))
    assert found.reserved_micros == PRICE


def test_compare_sums__puts_right_what_drifted(conn: Connection, reserved: MakeJob, project_id: str) -> None:
    reserved()
    conn.execute(months.update().values(reserved_micros=7, spent_micros=8))
    found = auditing.compare_sums(conn, project_id=project_id, month=NOVEMBER)
    assert [(one.ours_micros, one.theirs_micros) for one in found] == [(7, PRICE), (8, 0)]
    assert stands(conn, project_id) == (PRICE, 0)
    assert auditing.compare_sums(conn, project_id=project_id, month=NOVEMBER) == []


def test_compare_entries__writes_what_an_older_build_left_out(
    conn: Connection, reserved: MakeJob, project_id: str
) -> None:
    reserved()
    outcomes.completed(conn, generating(conn), url="https://v", credits_used=2 * PRICE, now=T0)
    conn.execute(entries.delete())
    [found] = auditing.compare_entries(conn, project_id=project_id, month=NOVEMBER, now=T0)
    assert (found.ours_micros, found.theirs_micros) == (0, PRICE)
    assert written(conn) == [("adjustment", "check", PRICE)]
    assert auditing.compare_entries(conn, project_id=project_id, month=NOVEMBER, now=T0) == []


def charge(generation_id: str, micros: int) -> Charge:
    return Charge(generation_id=generation_id, micros=micros, model="veo2", created_at=T0)


def compared(conn: Connection, *charges: Charge) -> list[Difference]:
    differ, unknown = auditing.differing(conn, charges)
    return auditing.correct(conn, differ, now=T0) + unknown


@pytest.mark.parametrize("name", ["g1", "i1", "g1:google/veo2"])
def test_compare_charges__corrects_ours_by_whatever_name(
    conn: Connection, reserved: MakeJob, project_id: str, name: str
) -> None:
    reserved()
    outcomes.completed(conn, generating(conn), url="https://v", credits_used=None, now=T0)
    [found] = compared(conn, charge(name, 2 * USD))
    assert (found.finding, found.ours_micros, found.theirs_micros) == ("charge_differs", PRICE, 2 * USD)
    assert stands(conn, project_id) == (0, 2 * USD)
    assert compared(conn, charge(name, 2 * USD)) == []


@pytest.mark.parametrize("ours", ["g1:google/veo2", "g1"])
@pytest.mark.parametrize("theirs", ["g1", "g1:veo2"])
def test_compare_charges__an_id_with_or_without_its_model_is_the_same(
    conn: Connection, reserved: MakeJob, ours: str, theirs: str
) -> None:
    job = reserved()
    generation = generating(conn, generation_id=ours)
    outcomes.completed(conn, generation, url="https://v", credits_used=None, now=T0)
    [found] = compared(conn, charge(theirs, 2 * USD))
    assert (found.finding, found.about) == ("charge_differs", job.id)


def test_differing__comes_in_the_order_of_jobs(conn: Connection, reserved: MakeJob) -> None:
    """So locks are taken in it, whatever the order of the account."""
    names = {}
    for name in ("g1", "g2", "g3"):
        names[reserved().id] = name
        outcomes.completed(
            conn, generating(conn, generation_id=name), url="https://v", credits_used=2 * PRICE, now=later(-1)
        )
    differ, _ = auditing.differing(conn, [charge("g3", USD), charge("g1", USD), charge("g2", PRICE)])
    first, _, third = sorted(names)
    assert [owned.job_id for owned in differ] == [first, third]


def test_compare_charges__a_right_estimate_is_confirmed(conn: Connection, reserved: MakeJob, project_id: str) -> None:
    job = reserved()
    outcomes.completed(conn, generating(conn), url="https://v", credits_used=None, now=T0)
    assert compared(conn, charge("g1", PRICE)) == []
    assert jobs.lock(conn, job.id).charge_basis == "reported"


def test_compare_charges__leaves_what_is_not_settled_alone(conn: Connection, reserved: MakeJob) -> None:
    reserved()
    generating(conn)
    assert compared(conn, charge("g1", PRICE)) == []
    assert written(conn) == []


def test_compare_charges__reports_what_is_not_ours(conn: Connection) -> None:
    [found] = compared(conn, charge("g9", PRICE))
    assert (found.finding, found.about, found.booked) == ("unknown_purchase", "g9", False)


def failed_and_charged(conn: Connection) -> Job:
    job = generating(conn)
    cost = {"charged_micros": PRICE, "charge_basis": "reported", "settled": True}
    ended = outcomes.ended_without_video(conn, job, code="upstream_failed", message="No.", cost=cost, now=T0)
    assert ended is not None
    return ended


def test_charged_jobs__only_those_that_the_account_must_show_by_now(conn: Connection, reserved: MakeJob) -> None:
    reserved()
    job = failed_and_charged(conn)
    landed = T0 + auditing.LANDS_WITHIN
    since = T0 - timedelta(days=1)
    assert auditing.charged_jobs(conn, start=since, now=later(60), key_print="k") == []
    assert auditing.charged_jobs(conn, start=later(1), now=landed, key_print="k") == []
    expected = [auditing.Expected(job.id, {"g1", "i1"}, T0)]
    assert auditing.charged_jobs(conn, start=since, now=landed, key_print="k") == expected


def test_charged_jobs__one_adopted_late_was_bought_when_its_request_left(
    conn: Connection, reserved: MakeJob, project_id: str
) -> None:
    """Its charge stands on the account from before we knew of it."""
    reserved()
    job, submission = sending(conn)
    settling.settle(conn, job.id, now=later(60), lease_token=job.lease_token)
    accept(conn, submission, credits_used=2 * PRICE)
    found = settling.settle(conn, job.id, now=later(5 * 3600), lease_token=None, told_by="usage_log")
    assert found is not None
    outcomes.ended_without_video(conn, found, code="x", message="No.", cost={"settled": True}, now=later(5 * 3600))
    landed = T0 + auditing.LANDS_WITHIN
    assert auditing.charged_jobs(conn, start=later(3600), now=landed, key_print="k") == []
    [expected] = auditing.charged_jobs(conn, start=T0, now=landed, key_print="k")
    assert (expected.job_id, expected.bought_at) == (job.id, T0)


def test_charged_jobs__any_of_its_attempts_may_have_bought_it(conn: Connection, reserved: MakeJob) -> None:
    """An operator may attach what an earlier one bought."""
    reserved()
    first, _ = sending(conn)
    moved = settling.settle(conn, first.id, now=T0, lease_token=first.lease_token)
    assert moved is not None
    jobs.advance(conn, moved, to=JobState.QUEUED, now=T0)
    second, submission = sending(conn, now=later(24 * 3600))
    accept(conn, submission, credits_used=2 * PRICE)
    found = settling.settle(conn, second.id, now=later(24 * 3600), lease_token=second.lease_token)
    assert found is not None
    outcomes.ended_without_video(conn, found, code="x", message="No.", cost={"settled": True}, now=later(24 * 3600))
    now = later(24 * 3600) + auditing.LANDS_WITHIN
    assert auditing.charged_jobs(conn, start=later(1), now=now, key_print="k") == []
    [expected] = auditing.charged_jobs(conn, start=T0, now=now, key_print="k")
    assert expected.bought_at == T0


def test_charged_jobs__one_that_took_longer_than_any_is_given_time(conn: Connection, reserved: MakeJob) -> None:
    reserved()
    generation = generating(conn, credits_used=2 * PRICE)
    ended = T0 + auditing.LANDS_WITHIN
    outcomes.ended_without_video(conn, generation, code="x", message="No.", cost={"settled": True}, now=ended)
    assert auditing.charged_jobs(conn, start=T0, now=ended, key_print="k") == []
    assert auditing.charged_jobs(conn, start=T0, now=ended + auditing.ENDED_FOR, key_print="k") != []


def booked_twice(conn: Connection, project_id: str) -> Job:
    """Make a job of which the log showed a second purchase."""
    job = generating(conn, credits_used=2 * PRICE)
    bought = {"request_id": "rly:d1:x:1", "model": "veo2", "bought_at": T0, "seen_at": T0}
    conn.execute(strays.insert().values(inference_id="s1", job_id=job.id, micros=PRICE, **bought))
    data = {"told_by": "usage_log"}
    return jobs.note(conn, job, type="job.extra_charge", now=T0, data=data, extra_micros=PRICE)


def test_correct__a_stray_that_another_has_corrected_stays(
    conn: Connection, reserved: MakeJob, project_id: str
) -> None:
    """Both had seen it before either wrote."""
    reserved()
    job = booked_twice(conn, project_id)
    differ, _ = auditing.differing(conn, [charge("s1", 4 * USD)])
    assert [one.finding for one in auditing.correct(conn, differ, now=T0)] == ["charge_differs"]
    assert auditing.correct(conn, differ, now=T0) == []
    assert jobs.lock(conn, job.id).extra_micros == 4 * USD
    written = conn.execute(sa.select(entries.c.micros).where(entries.c.job_id == job.id, entries.c.kind == "extra"))
    assert sum(written.scalars()) == 4 * USD


def test_correct__a_stray_that_was_given_to_its_job_is_none(
    conn: Connection, reserved: MakeJob, project_id: str
) -> None:
    reserved()
    job = booked_twice(conn, project_id)
    differ, _ = auditing.differing(conn, [charge("s1", 4 * USD)])
    conn.execute(strays.delete())
    assert auditing.correct(conn, differ, now=T0) == []
    assert jobs.lock(conn, job.id).extra_micros == PRICE


async def test_correct__two_at_the_same_moment_book_a_stray_once(database: Database) -> None:
    def begin(conn: Connection) -> str:
        project_id = access.create_project(conn, "film", now=T0).id
        values = {"id": "job_1", "project_id": project_id, "model": "veo2", "input": {}, "upstream_path": "/"}
        jobs.insert(conn, Job(**values, due_at=T0, created_at=T0))
        return booked_twice(conn, project_id).id

    job_id = await database.write(begin)
    differ, _ = await database.read(lambda conn: auditing.differing(conn, [charge("s1", 4 * USD)]))
    both_read = threading.Barrier(2)

    def correct(conn: Connection) -> list[Difference]:
        if not database.is_sqlite:
            both_read.wait(10)
        return auditing.correct(conn, differ, now=T0)

    found = await asyncio.gather(*(database.write(correct) for _ in range(2)))
    assert sorted(map(len, found)) == [0, 1]
    assert (await database.read(lambda conn: jobs.lock(conn, job_id))).extra_micros == 4 * USD


def test_take_turn__one_at_a_time_and_not_before_it_is_due(conn: Connection) -> None:
    every = timedelta(hours=6)
    assert audit_turn.take(conn, now=T0, every=every)
    assert not audit_turn.take(conn, now=later(60), every=every)
    audit_turn.finish(conn, now=later(120))
    assert not audit_turn.take(conn, now=later(6 * 3600), every=every)
    assert audit_turn.take(conn, now=later(6 * 3600 + 120), every=every)


def test_take_turn__of_one_that_never_finished_is_taken_over(conn: Connection) -> None:
    every = timedelta(hours=6)
    assert audit_turn.take(conn, now=T0, every=every)
    assert audit_turn.take(conn, now=T0 + audit_turn.LEASE, every=every)


def test_take_turn__does_not_wait_for_a_clock_that_was_set_back(conn: Connection) -> None:
    every = timedelta(hours=6)
    audit_turn.finish(conn, now=later(30 * 86_400))
    assert audit_turn.take(conn, now=T0, every=every)
    assert audit_turn.take(conn, now=T0 - 2 * audit_turn.LEASE, every=every)


@pytest.mark.parametrize("told", [0, 2 * 1000])
def test_reservation__is_held_beside_too_low_a_charge_until_the_end(
    conn: Connection, reserved: MakeJob, project_id: str, told: int
) -> None:
    reserved()
    job = generating(conn, credits_used=told)
    assert sum(stands(conn, project_id)) == PRICE
    assert auditing.compare_sums(conn, project_id=project_id, month=NOVEMBER) == []
    outcomes.completed(conn, job, url="https://v", credits_used=2 * PRICE, now=T0)
    assert stands(conn, project_id) == (0, PRICE)


def test_submit_answer__that_says_nothing_was_used_reports_no_charge(conn: Connection, reserved: MakeJob) -> None:
    reserved()
    job = generating(conn, credits_used=0)
    assert (job.charged_micros, job.charge_basis) == (None, None)
    ended = outcomes.completed(conn, job, url="https://v", credits_used=None, now=T0)
    assert ended is not None
    assert (ended.charged_micros, ended.charge_basis) == (PRICE, "estimated")


def test_take_back__what_the_account_never_charged(conn: Connection, reserved: MakeJob, project_id: str) -> None:
    reserved()
    job = failed_and_charged(conn)
    [found] = auditing.take_back(conn, job.id, booked=False, now=T0)
    assert (found.booked, jobs.lock(conn, job.id).charged_micros) == (False, PRICE)
    [found] = auditing.take_back(conn, job.id, booked=True, now=T0)
    assert (found.finding, found.ours_micros, found.booked) == ("not_on_account", PRICE, True)
    seen = jobs.lock(conn, job.id)
    assert (seen.charged_micros, seen.billed, stands(conn, project_id)) == (0, False, (0, 0))


def test_migration__books_what_is_there(database: Database) -> None:
    with database.transaction() as conn:
        known = schema.revisions()
        schema.downgrade(conn, to=known[known.index("0006") + 1])
    with database.transaction() as conn:
        conn.execute(sa.text("INSERT INTO projects (id, name, created_at) VALUES ('p', 'film', '2026-11-23T12:00:00')"))
        old = sa.Table("jobs", sa.MetaData(), autoload_with=conn)
        row = {column.name: 0 for column in old.columns if not column.nullable and column.server_default is None}
        row |= {"project_id": "p", "model": "veo2", "upstream_path": "/", "input": {}, "metadata": {}}
        row |= {"due_at": T0, "created_at": T0, "estimated_micros": PRICE}
        conn.execute(old.insert(), row | {"id": "job_1", "state": "queued", "settled": False})
        charged = {"charged_micros": 3 * USD, "charge_basis": "reported", "error_code": "x", "finished_at": T0}
        conn.execute(old.insert(), row | charged | {"id": "job_2", "state": "failed", "settled": True, "attempts": 1})
    with database.transaction() as conn:
        schema.upgrade(conn)
        assert stands(conn, "p") == (PRICE, 3 * USD)
        assert written(conn) == [("charge", "generation", 3 * USD)]
        assert auditing.compare_sums(conn, project_id="p", month=NOVEMBER) == []
        assert auditing.compare_entries(conn, project_id="p", month=NOVEMBER, now=T0) == []
