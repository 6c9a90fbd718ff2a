"""What an operator watches: counted rightly, and from indexes of what is under way, never from all jobs."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from app.db import figures, overview, webhooks
from app.db.engine import Connection, Database
from app.db.tables import deliveries, months, projects
from app.db.tables import webhooks as webhooks_table
from app.domain.figures import Backlog, Books, Doubts
from app.domain.sealing import Sealer
from app.domain.states import JobState
from tests.conftest import Clock
from tests.factories import make_caller, make_job


def test_read__counts_what_is_under_way_and_what_ended_lately(database: Database, clock: Clock) -> None:
    me, _ = make_caller(database)
    clock.move(minutes=-20)
    for state in (JobState.SUCCEEDED, JobState.QUEUED):
        make_job(database, me, state=state)
    clock.move(minutes=20)
    for state in JobState:
        make_job(database, me, state=state)
    make_job(database, me, state=JobState.QUEUED, model="another", estimated_micros=1)
    make_job(database, me, state=JobState.UNCONFIRMED, estimated_micros=2_500_000)
    make_job(database, me, state=JobState.UNCONFIRMED, reserved_micros=1_000_000)
    with database.transaction() as conn:
        seen = figures.read(conn, database)
    counted = {state: seen.of_state(state) for state in JobState}
    assert counted == dict.fromkeys(JobState, 1) | {JobState.QUEUED: 3, JobState.UNCONFIRMED: 3}
    assert {crowd.model: crowd.count for crowd in seen.live if crowd.state is JobState.QUEUED} == {
        "veo2/image-to-video": 2, "another": 1,
    }  # fmt: skip
    assert seen.oldest_queued_at is not None
    assert timedelta(minutes=20) <= seen.at - seen.oldest_queued_at < timedelta(minutes=21)
    assert seen.doubts == Doubts(3, 0, 3_500_000)
    assert (seen.hold, seen.model_holds, seen.parked, seen.strays, seen.beat_at) == (None, {}, 0, 0, None)


def test_read__sums_this_month_and_what_webhooks_are_owed(database: Database) -> None:
    (me, _), (other, _) = make_caller(database), make_caller(database, project="others")
    with database.transaction() as conn:
        now = database.now(conn)
        conn.execute(projects.update().where(projects.c.id == me.project.id).values(monthly_budget_micros=100))
        for owner, month, spent in ((me, f"{now:%Y-%m}", 60), (other, f"{now:%Y-%m}", 900), (me, "2020-01", 7)):
            sums = {"project_id": owner.project.id, "month": month, "spent_micros": spent, "reserved_micros": 30}
            conn.execute(months.insert(), sums)
        hooks = [
            webhooks.create(conn, me.key, url="https://93.184.216.34/", events=None, sealer=Sealer(b"s"), now=now)[0]
            for _ in range(2)
        ]
        fixed = {"event_type": "job.succeeded", "moment": {}, "tries": 0, "attempts": 0, "due_at": now}
        for number, (hook, state, age) in enumerate(
            [(0, "owed", 60), (0, "owed", 5), (0, "failed", 90), (1, "owed", 99)]
        ):
            at = {"event_at": now - timedelta(seconds=age), "finished_at": now if state == "failed" else None}
            row = {"id": str(number), "event_id": str(number), "webhook_id": hooks[hook].id, "state": state}
            conn.execute(deliveries.insert(), fixed | at | row)
        gone = webhooks_table.update().where(webhooks_table.c.id == hooks[1].id)
        conn.execute(gone.values(disabled_at=now, disabled_reason="failing"))
        seen = figures.read(conn, database)
    assert seen.books == Books(960, 60, 1)
    assert seen.backlog == Backlog(2, now - timedelta(seconds=60), now)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_statements__read_no_table_that_grows(database: Database) -> None:
    """Scrapes come every few seconds: with a million jobs, what is over must not be read."""
    growing = {"jobs", "deliveries", "months", "events", "submissions", "ledger"}
    seen = []

    @sa.event.listens_for(database.engine, "before_cursor_execute")
    def note(_conn: Connection, _cursor: object, statement: str, given: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            seen.append((statement, given))

    with database.transaction() as conn:
        figures.read(conn, database)
        overview.held(conn)
        plans = {s: [row.detail for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {s}", g)] for s, g in [*seen]}
    assert len(plans) >= 9
    scans = [step for plan in plans.values() for step in plan if step.startswith("SCAN") and step.split()[1] in growing]
    assert scans
    assert [step for step in scans if "INDEX" not in step] == []
    # A scan of an index is one of a partial one.
    partial = {"ix_jobs_queue", "ix_jobs_occupying", "ix_jobs_save", "ix_jobs_doubtful", "ix_jobs_parked"}
    assert [step for step in scans if not partial & set(step.split())] == []
    assert any("ix_jobs_finished (finished_at>?)" in step for plan in plans.values() for step in plan), plans
    assert any("ix_deliveries_owed" in step for plan in plans.values() for step in plan), plans
