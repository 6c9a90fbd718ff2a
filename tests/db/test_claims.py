"""Admission, leases and what is due."""

import asyncio

import pytest
import sqlalchemy as sa

from app.db import access, claims, gate, jobs, outcomes, settling, submissions
from app.db.claims import Lease
from app.db.engine import Connection, Database
from app.db.tables import projects
from app.domain.errors import Unconfirmed
from app.domain.job import Priority
from app.domain.states import JobState
from tests.db.conftest import T0, MakeJob, accept, admit, generating, later, sending


def test_admit__takes_what_there_is_room_for(conn: Connection, make_job: MakeJob) -> None:
    made = [make_job().id for _ in range(5)]
    first = admit(conn, most=3)
    assert [job.id for job, _ in first] == made[:3]
    assert {(job.state, job.attempts, job.lease_token) for job, _ in first} == {(JobState.SUBMITTING, 1, "t1")}
    assert admit(conn, most=3) == []
    assert [job.id for job, _ in admit(conn, most=4)] == made[3:4]


def test_admit__writes_the_submission_before_anything_is_sent(conn: Connection, make_job: MakeJob) -> None:
    job = make_job()
    [(_, submission)] = admit(conn)
    assert (submission.state, submission.n) == ("prepared", 1)
    assert submission.request_id == f"rly:d1:{job.id}:1"


def test_admit__skips_what_is_not_due_or_too_late(conn: Connection, make_job: MakeJob) -> None:
    make_job(due_at=later(1))
    make_job(start_by=T0)
    assert admit(conn) == []


@pytest.mark.parametrize("database_kind", ["postgres"], indirect=True)
def test_admit__waits_for_whoever_is_at_the_gate(conn: Connection, database: Database, make_job: MakeJob) -> None:
    """Else each would see the other's jobs as still queued, and both would take the last place."""
    make_job()
    make_job(project_id=access.create_project(conn, "other", now=T0).id)
    conn.commit()
    assert len(admit(conn, most=1)) == 1
    with database.engine.connect() as another:
        another.exec_driver_sql("SET LOCAL lock_timeout = '200ms'")
        with pytest.raises(sa.exc.OperationalError):
            admit(another, most=1)


def test_admit__takes_turns_between_projects(conn: Connection, make_job: MakeJob) -> None:
    crowd = [make_job().id for _ in range(6)]
    other = access.create_project(conn, "other", now=T0).id
    lone = [make_job(project_id=other).id for _ in range(2)]
    taken = [job.id for job, _ in admit(conn, most=4)]
    assert set(taken) == {*crowd[:2], *lone}


def test_admit__rotates_so_that_nobody_is_always_second(conn: Connection, make_job: MakeJob) -> None:
    other = access.create_project(conn, "other", now=T0).id
    for _ in range(3):
        make_job()
        make_job(project_id=other)
    owners = [admit(conn, now=later(n), most=n + 1)[0][0].project_id for n in range(4)]
    assert owners[0] != owners[1]
    assert owners == [owners[0], owners[1], owners[0], owners[1]]


def test_admit__respects_the_projects_own_limit(conn: Connection, make_job: MakeJob, project_id: str) -> None:
    conn.execute(projects.update().values(max_in_flight=2))
    for _ in range(4):
        make_job()
    assert len(admit(conn)) == 2
    assert admit(conn) == []


def test_admit__priority_orders_within_the_project(conn: Connection, make_job: MakeJob) -> None:
    low, normal, high = make_job(priority=Priority.LOW), make_job(), make_job(priority=Priority.HIGH)
    assert [job.id for job, _ in admit(conn)] == [high.id, normal.id, low.id]


def test_admit__a_hold_stops_all_and_then_lets_one_try(conn: Connection, make_job: MakeJob) -> None:
    for _ in range(3):
        make_job()
    gate.hold(conn, now=T0, until=later(30), reason="upstream_key_refused")
    assert admit(conn, now=later(29)) == []
    assert len(admit(conn, now=later(30))) == 1
    assert admit(conn, now=later(31)) == []
    gate.open_again(conn)
    assert len(admit(conn, now=later(32))) == 2


def test_admit__the_hold_of_a_model_stops_only_it_and_then_lets_one_try(conn: Connection, make_job: MakeJob) -> None:
    models = [make_job(model=model).model for model in ("veo2", "veo2", "veo2", "veo3")]
    gate.hold_model(conn, models[0], now=T0, until=later(30), reason="model_forbidden", level=1)

    def admitted(seconds: float) -> list[str]:
        return [job.model for job, _ in admit(conn, now=later(seconds))]

    assert admitted(29) == ["veo3"]
    assert (admitted(30), admitted(31)) == (["veo2"], [])
    gate.end_trial(conn, "veo2", now=later(31))  # it went back unsent
    assert (admitted(31), admitted(32)) == (["veo2"], [])
    gate.release_model(conn, "veo2")
    assert admitted(33) == ["veo2"]


def test_admit__tries_none_before_the_free_question_was_answered(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    gate.hold(conn, now=T0, until=later(30), reason="upstream_unreachable", probe_first=True)
    assert admit(conn, now=later(31)) == []
    gate.let_one_try(conn, now=later(31))
    assert len(admit(conn, now=later(31))) == 1


def test_answered_late__an_id_that_another_job_has_is_left_to_a_person(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    generating(conn, generation_id="g1")
    for generation_id, found in (("g2", 1), ("g1", 0)):
        make_job()
        job, submission = sending(conn)
        submissions.record_failure(conn, submission.id, Unconfirmed("cut off"), now=T0)
        settling.settle(conn, job.id, now=T0, lease_token=job.lease_token)
        accept(conn, submission, generation_id=generation_id)
        assert len(claims.answered_late(conn)) == found
        for late in claims.answered_late(conn):
            settling.settle(conn, late.id, now=T0, lease_token=None)


def test_due_polls__only_what_is_due_and_booked_away(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    job = generating(conn)
    assert claims.due_polls(conn, now=later(-1), limit=9) == []
    due = claims.due_polls(conn, now=job.due_at, limit=9)
    assert [found.id for found in due] == [job.id]
    claims.book_polls(conn, {job.id: later(500)}, now=T0)
    assert claims.due_polls(conn, now=later(499), limit=9) == []
    assert len(claims.due_polls(conn, now=later(500), limit=9)) == 1


def test_due_saves__one_lease_at_a_time_and_taken_over_when_it_expires(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    jobs.advance(conn, generating(conn), to=JobState.SAVING, now=T0)
    [mine] = claims.due_saves(conn, now=T0, lease=Lease("a", later(60)), limit=9)
    assert claims.due_saves(conn, now=later(59), lease=Lease("b", later(119)), limit=9) == []
    [theirs] = claims.due_saves(conn, now=later(60), lease=Lease("b", later(120)), limit=9)
    assert (mine.saves, theirs.saves) == (1, 2)
    assert not claims.renew(conn, mine.id, token="a", expires_at=later(999))
    assert claims.renew(conn, mine.id, token="b", expires_at=later(999))
    assert jobs.advance(conn, mine, to=JobState.FAILED, now=T0, error_code="x") is None


def test_refresh_result__is_for_that_job_of_the_lease_and_only_while_it_is_held(
    conn: Connection, make_job: MakeJob
) -> None:
    for name in ("g1", "g2"):
        make_job()
        jobs.advance(conn, generating(conn, generation_id=name), to=JobState.SAVING, now=T0, result_url=f"{name} old")
    first, second = sorted(claims.due_saves(conn, now=T0, lease=Lease("a", later(60)), limit=9), key=lambda job: job.id)
    outcomes.refresh_result(conn, first, url="g1 new", bad=True)
    outcomes.refresh_result(conn, second, url=None, bad=False)
    claims.due_saves(conn, now=later(60), lease=Lease("b", later(120)), limit=9)
    outcomes.refresh_result(conn, second, url="g2 late", bad=True)
    seen = [jobs.lock(conn, job.id) for job in (first, second)]
    assert [(job.result_url, job.bad_results) for job in seen] == [("g1 new", 1), ("g2 old", 0)]


def test_put_off__gives_a_save_back_for_later(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    jobs.advance(conn, generating(conn), to=JobState.SAVING, now=T0)
    [job] = claims.due_saves(conn, now=T0, lease=Lease("a", later(60)), limit=9)
    assert claims.put_off(conn, job, due_at=later(10), reason="storage_unavailable")
    assert not claims.put_off(conn, job, due_at=later(10), reason="storage_unavailable")
    assert claims.due_saves(conn, now=later(9), lease=Lease("b", later(70)), limit=9) == []
    assert len(claims.due_saves(conn, now=later(10), lease=Lease("b", later(70)), limit=9)) == 1


async def test_note_balance__waits_for_nobody_who_has_the_gate_locked(database: Database) -> None:
    with database.transaction() as conn:
        gate.note_balance(conn, 7, now=database.now(conn))
        assert gate.read(conn).balance_micros == 7
    if database.is_sqlite:  # one writer at a time, and so nobody to wait for
        return
    with database.transaction() as locking:
        gate.read(locking, lock=True)
        await asyncio.wait_for(database.write(lambda conn: gate.note_balance(conn, 8, now=database.now(conn))), 5)
    with database.transaction() as conn:
        assert gate.read(conn).balance_micros == 7
