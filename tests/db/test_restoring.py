"""The number of the last submission outlives its rows, on both databases."""

import pytest

from app.db import log_reader, restoring
from app.db.engine import Connection
from tests.db.conftest import T0, MakeJob, admit, later


def test_last_submission__counts_on(conn: Connection, make_job: MakeJob) -> None:
    before = restoring.last_submission(conn)
    make_job()
    [(_, submission)] = admit(conn)
    assert restoring.last_submission(conn) == submission.id > before


def test_raise_submissions__the_next_one_is_above(conn: Connection, make_job: MakeJob) -> None:
    above = restoring.last_submission(conn) + 1000
    restoring.raise_submissions(conn, above=above)
    assert restoring.last_submission(conn) == above
    restoring.raise_submissions(conn, above=3)
    make_job()
    [(_, submission)] = admit(conn)
    assert submission.id > above


def test_newest_moment__is_that_of_the_last_job(conn: Connection, make_job: MakeJob) -> None:
    assert restoring.newest_moment(conn) is None
    make_job(created_at=T0)
    make_job(created_at=later(9))
    assert restoring.newest_moment(conn) == later(9)


def test_park__keeps_what_waits_and_lets_the_rest_be(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    assert restoring.park(conn, since=T0, until=later(60)) == 1
    fresh = make_job()
    assert [job.id for job, _ in admit(conn)] == [fresh.id]
    assert restoring.unpark(conn) == 1
    assert len(admit(conn, token="t2")) == 1


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_parked__are_counted_by_their_index_alone(conn: Connection) -> None:
    """/readyz counts them: it must not read millions of rows to find that there are none."""
    count = str(log_reader._COUNTS.compile(conn, compile_kwargs={"literal_binds": True}))
    plan = [row.detail for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {count}")]
    assert any("ix_jobs_parked" in step for step in plan), plan
    assert not any(step == "SCAN jobs" for step in plan), plan
