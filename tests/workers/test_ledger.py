"""Whatever the upstream reports, and whenever: in the end our ledger says what its account says."""

from typing import Any

import pytest
import sqlalchemy as sa

from app.catalogue import catalogue
from app.db import access, deployment, ledger, trail
from app.db.tables import ledger as entries
from app.db.tables import strays
from app.domain.actor import ON_THE_HOST
from app.domain.job import Job
from app.domain.states import JobState
from app.domain.transactions import Difference
from app.upstream import transactions
from app.workers.audit import Auditor, check
from app.workers.requote import Requoter
from tests.workers.conftest import DEPLOYMENT, T0, WINDOW_SECONDS, Room

PRICE = 2_500_000
USD = 1_000_000
MODES: list[dict[str, Any]] = [
    {"credits_reported": "submit", "cost_headers": False},
    {"credits_reported": "submit", "cost_headers": True},
    {"credits_reported": "end", "cost_headers": False},
    {"credits_reported": "both", "cost_headers": False},
    {"credits_reported": "never", "cost_headers": False},
]
SILENT = MODES[-1]


async def ordered(room: Room, prompt: str = "A boat", *, price: int = PRICE, **given: Any) -> Job:
    """Make a job with its reservation, as a create does."""
    quoted = {"estimated_micros": price, "estimate_basis": "price_list", "reserved_micros": price}
    made = await room.create(prompt, **quoted | given)
    await room.db.write(lambda conn: ledger.reserve(conn, made))
    return made


async def stands(room: Room) -> tuple[int, int]:
    found = await room.db.read(lambda conn: ledger.read_month(conn, room.project_id, T0))
    return found.reserved_micros, found.spent_micros


async def booked(room: Room) -> int:
    """Return the sum of all entries."""
    query = sa.select(sa.func.coalesce(sa.func.sum(entries.c.micros), 0))
    return await room.db.read(lambda conn: int(conn.execute(query).scalar_one()))


async def on_account(room: Room) -> int:
    """Return what the sandbox has charged: the judge."""
    page = await room.upstream.transactions(since=T0)
    assert page.next_cursor is None
    return sum(charge.micros for charge in page.charges)


async def audited(room: Room) -> list[Difference]:
    """Check the ledger when everything that was charged must show."""
    room.clock.pass_seconds(49 * 3600)
    return await check(room.db, room.upstream, since=T0)


@pytest.mark.parametrize("sandbox_options", MODES)
async def test_ledger__is_the_account_in_every_mode(room: Room) -> None:
    ends = ["A boat", "A ship [[fault:fail]]", "A raft [[fault:fail-charged]]", "A ferry [[fault:429*1]]"]
    made = [await ordered(room, prompt) for prompt in ends]
    lost = await ordered(room, "A ketch [[fault:lost]]")
    assert await stands(room) == (5 * PRICE, 0)
    await room.to_the_end()
    assert {(await room.seen(job)).settled for job in made} == {True}
    assert sum(await stands(room)) >= await on_account(room)
    room.clock.pass_seconds(25 * 3600)
    await room.to_the_end(rounds=3)
    assert (await room.seen(lost)).error_code == "upstream_lost"
    await audited(room)
    bought = await on_account(room)
    assert bought == 3 * PRICE  # two that were delivered, and the lost one
    assert (await stands(room), await booked(room)) == ((0, bought), bought)
    assert await check(room.db, room.upstream, since=T0) == []


@pytest.mark.parametrize("sandbox_options", [SILENT])
async def test_ledger__an_estimate_is_corrected_from_the_account(room: Room) -> None:
    job = await ordered(room, price=4 * USD)
    await room.to_the_end(rounds=6)
    seen = await room.seen(job)
    assert (seen.charged_micros, seen.charge_basis) == (4 * USD, "estimated")
    [found] = await check(room.db, room.upstream, since=T0)
    assert (found.finding, found.about) == ("charge_differs", job.id)
    assert (found.ours_micros, found.theirs_micros) == (4 * USD, PRICE)
    seen = await room.seen(job)
    assert (seen.charged_micros, seen.charge_basis, await stands(room)) == (PRICE, "reported", (0, PRICE))
    assert (await room.timeline(job))[-1] == "job.charge_corrected"
    assert await deeds(room) == []


@pytest.mark.parametrize("sandbox_options", [SILENT])
async def test_ledger__what_somebody_has_booked_is_in_their_name(room: Room) -> None:
    job = await ordered(room, price=4 * USD)
    await room.to_the_end(rounds=6)
    for _ in range(2):
        await check(room.db, room.upstream, since=T0, by=ON_THE_HOST)
    assert sorted(await deeds(room)) == [("job.charge_corrected", job.id), ("ledger.corrected", job.id)]


async def deeds(room: Room) -> list[tuple[str, str]]:
    """Return what was done by somebody."""
    return [(deed.action, deed.target) for deed in await room.db.read(lambda conn: trail.read(conn, limit=100))]


async def test_ledger__what_failed_and_was_reported_as_charged_is_taken_back(room: Room) -> None:
    job = await ordered(room, "A raft [[fault:fail-charged]]")
    await ordered(room, "A boat")
    await room.to_the_end(rounds=6)
    assert await stands(room) == (0, 2 * PRICE)
    [found] = await audited(room)
    assert (found.finding, found.about, found.booked) == ("not_on_account", job.id, True)
    assert (await stands(room), (await room.seen(job)).billed) == ((0, PRICE), False)


async def test_ledger__an_empty_account_takes_nothing_back(room: Room) -> None:
    job = await ordered(room, "A raft [[fault:fail-charged]]")
    await room.to_the_end(rounds=4)
    [found] = await audited(room)
    assert (found.finding, found.about, found.booked) == ("not_on_account", job.id, False)
    assert await stands(room) == (0, PRICE)


async def test_ledger__another_deployments_purchase_is_reported_and_not_booked(room: Room) -> None:
    bought = await room.upstream.submit(
        path="/v2/video/generations", model="veo2", input={"prompt": "A boat"}, request_id="rly:other:job_x:1"
    )
    [found] = await audited(room)
    assert (found.finding, found.about, found.booked) == ("unknown_purchase", bought.generation_id, False)
    assert await booked(room) == 0


async def test_ledger__a_stray_is_booked_once_and_corrected(room: Room) -> None:
    """Two purchases under one number: the second has no job of its own, and costs money too."""
    job = await ordered(room)
    await room.to_the_end(rounds=6)
    again = f"rly:d1:{job.id}:1"
    await room.upstream.submit(path="/v2/video/generations", model="veo2", input={"prompt": "B"}, request_id=again)
    room.clock.pass_seconds(60)
    await ordered(room, "A boat [[fault:reset-before]]")
    await room.submit()
    for _ in range(2):
        await room.beat("reconciler")
        room.clock.pass_seconds(60)
    assert ((await room.seen(job)).extra_micros, (await stands(room))[1]) == (PRICE, 2 * PRICE)
    await room.db.write(lambda conn: conn.execute(strays.update().values(micros=PRICE - 5)))
    await audited(room)
    assert (await room.seen(job)).extra_micros == PRICE + 5


async def test_ledger__a_purchase_for_no_job_of_ours_is_booked_once_and_corrected(room: Room) -> None:
    unknown = f"rly:{DEPLOYMENT}:job_0123:1"
    await room.upstream.submit(path="/v2/video/generations", model="veo2", input={"prompt": "B"}, request_id=unknown)
    for _ in range(2):
        room.clock.pass_seconds(60)
        await room.beat("reconciler")
    assert (await booked(room), await stands(room)) == (PRICE, (0, 0)), "spent, and by no project"
    await room.db.write(lambda conn: conn.execute(strays.update().values(micros=PRICE - 5)))
    for _ in range(2):
        await audited(room)
    assert await booked(room) == PRICE + 5


@pytest.mark.parametrize("sandbox_options", [SILENT])
async def test_ledger__reads_every_page_of_the_account(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands on a later page is not taken for missing."""
    monkeypatch.setattr("app.upstream.client.TRANSACTIONS", 2)
    assert transactions.PAGE_ROWS == 100
    for n in range(5):
        await ordered(room, f"Clip {n}")
    await room.to_the_end(rounds=6)
    assert (await room.upstream.transactions(since=T0)).next_cursor is not None
    assert await audited(room) == []
    assert await stands(room) == (0, 5 * PRICE)


@pytest.mark.parametrize("sandbox_options", [{"faults": {}}])
async def test_ledger__another_keys_account_proves_nothing(room: Room) -> None:
    job = await ordered(room, "A raft [[fault:fail-charged]]")
    await room.to_the_end(rounds=4)
    await room.db.write(lambda conn: conn.execute(sa.text("UPDATE submissions SET key_print = 'another'")))
    assert await audited(room) == []
    assert (await room.seen(job)).charged_micros == PRICE


async def test_auditor__checks_from_its_second_beat_on(room: Room) -> None:
    job = await ordered(room)
    await room.to_the_end(rounds=6)
    await room.db.write(lambda conn: conn.execute(entries.delete()))
    auditor = Auditor(room.db, room.upstream)
    await auditor.run_once()
    assert await booked(room) == 0
    await auditor.run_once()
    assert await booked(room) == (await room.seen(job)).charged_micros


def per_video(usd: str) -> dict[str, Any]:
    return {"kind": "fixed", "units": [{"measure": "video", "price": usd, "per": "1"}]}


async def bought_at(room: Room, usd: str, **own: dict[str, Any]) -> None:
    """Let the submitter buy when the list says this price."""
    await room.db.write(lambda conn: deployment.save_prices(conn, etag=None, rules={"veo2": per_video(usd)}, now=T0))
    requoter = Requoter(room.db, catalogue=catalogue.load(), own_prices=own)
    submitter = room.another_submitter(requoter=requoter)
    await submitter.run_once()
    await submitter.crew.drain()


@pytest.mark.parametrize(
    ("limits", "given"),
    [({"monthly_budget_micros": 3 * USD}, {}), ({}, {"max_cost_micros": 3 * USD})],
    ids=["budget", "max_cost"],
)
async def test_risen_price__beyond_what_is_allowed_fails_the_job_unbought(
    room: Room, limits: dict[str, int], given: dict[str, int]
) -> None:
    await room.db.write(lambda conn: access.limit_project(conn, "film", **limits))
    job = await ordered(room, **given)
    await bought_at(room, "3.5")
    seen = await room.seen(job)
    assert (seen.state, seen.error_code, seen.billed) == (JobState.FAILED, "cost_limit_exceeded", False)
    assert "risen to 3.5 USD" in (seen.error_message or "")
    assert (await stands(room), room.sold()) == ((0, 0), [])


async def test_risen_price__within_the_budget_is_reserved_before_it_is_bought(room: Room) -> None:
    await room.db.write(lambda conn: access.limit_project(conn, "film", monthly_budget_micros=4 * USD))
    job = await ordered(room)
    await bought_at(room, "3.5")
    assert ((await room.seen(job)).estimated_micros, len(room.sold())) == (3_500_000, 1)
    assert "job.requoted" in await room.timeline(job)


async def test_risen_price__an_operators_own_goes_first(room: Room) -> None:
    job = await ordered(room, max_cost_micros=3 * USD)
    await bought_at(room, "99", veo2=per_video("2.5"))
    assert ((await room.seen(job)).state, len(room.sold())) == (JobState.GENERATING, 1)


async def lost_for_long(room: Room, *, budget: int) -> Job:
    """Make a job whose paid request is lost, and let the log say nothing about it for the whole window."""
    await room.db.write(lambda conn: access.limit_project(conn, "film", monthly_budget_micros=budget))
    job = await ordered(room, "A boat [[fault:reset-before*1]]", on_unconfirmed="resubmit")
    await room.submit()
    assert (await room.seen(job)).state is JobState.UNCONFIRMED
    for _ in range(WINDOW_SECONDS // 60 + 2):
        room.clock.pass_seconds(60)
        await room.beat("reconciler")
    return job


async def test_resubmit__reserves_anew_beside_what_may_turn_up(room: Room) -> None:
    job = await lost_for_long(room, budget=5 * USD)
    assert (await room.seen(job)).state is JobState.QUEUED
    assert await stands(room) == (2 * PRICE, 0)
    await room.to_the_end(rounds=6)
    assert (await room.seen(job)).state is JobState.SUCCEEDED
    assert (await stands(room), len(room.sold())) == ((0, PRICE), 1)


async def test_resubmit__without_room_is_left_to_a_person(room: Room) -> None:
    job = await lost_for_long(room, budget=5 * USD - 1)
    seen = await room.seen(job)
    assert (seen.state, seen.wait_reason, await stands(room)) == (JobState.UNCONFIRMED, "needs_operator", (PRICE, 0))
