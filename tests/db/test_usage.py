"""What a project used: every job counts once, in its group, deleted or not."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from app.db import access, endings, jobs, outcomes, queue, schema, usage
from app.db.engine import Connection, Database
from app.db.jobs import Owner
from app.db.usage import Group, GroupBy, Sums
from app.domain.job import Job, Priority
from app.domain.secrets import DEFAULT_SCOPES
from app.domain.states import JobState
from tests.db.conftest import T0, MakeJob, generating

WINDOW: dict[str, Any] = {"start": T0 - timedelta(days=30), "end": T0 + timedelta(days=30)}
VIDEO = {"key": "videos/1.mp4", "duration_seconds": 5.5}


def succeeded(conn: Connection, *, credits_used: int | None = 5_000_000) -> Job:
    """Bring the one queued job to its end."""
    job = generating(conn, generation_id=f"g{credits_used}")
    saving = outcomes.completed(conn, job, url="https://x.example/1", credits_used=credits_used, now=T0)
    assert saving is not None
    saved = outcomes.saved(conn, saving, video=VIDEO, now=T0)
    assert saved is not None
    return saved


def groups(conn: Connection, project_id: str, group_by: GroupBy, **given: Any) -> list[Group]:
    subject = given.pop("subject", None)
    owner = Owner(project_id=project_id, subject=subject)
    return usage.groups(conn, owner=owner, group_by=group_by, **{"limit": 9} | WINDOW | given)


def test_total__sums_what_was_charged_and_what_is_open(conn: Connection, make_job: MakeJob, project_id: str) -> None:
    make_job(estimated_micros=1)
    succeeded(conn)
    make_job(estimated_micros=700_000)
    unpaid = make_job(estimated_micros=900_000)
    jobs.cancel(conn, unpaid.id, owner=Owner(project_id=project_id), now=T0)
    total = usage.total(conn, owner=Owner(project_id=project_id), **WINDOW)
    assert total == Sums(jobs=3, seconds=5.5, charged_micros=2_500_000, open_micros=700_000)


def test_total__keeps_what_a_deleted_job_was(conn: Connection, make_job: MakeJob, project_id: str) -> None:
    make_job()
    job = succeeded(conn)
    endings.buried(conn, endings.scrub(conn, job, now=T0))
    total = usage.total(conn, owner=Owner(project_id=project_id), **WINDOW)
    assert total == Sums(jobs=1, seconds=5.5, charged_micros=2_500_000, open_micros=0)


def test_total__of_nothing_is_nothing(conn: Connection, project_id: str) -> None:
    assert usage.total(conn, owner=Owner(project_id=project_id), **WINDOW) == Sums(0, 0.0, 0, 0)
    assert groups(conn, project_id, GroupBy.DAY) == []


@pytest.mark.parametrize(
    ("start", "end", "counted"),
    [(T0, T0 + timedelta(seconds=1), 1), (T0 - timedelta(days=1), T0, 0), (T0 + timedelta(microseconds=1), T0, 0)],
)
def test_total__counts_from_start_until_before_end(
    conn: Connection, make_job: MakeJob, project_id: str, start: datetime, end: datetime, counted: int
) -> None:
    make_job()
    assert usage.total(conn, owner=Owner(project_id=project_id), start=start, end=end).jobs == counted


def test_groups__days_are_those_of_utc(conn: Connection, make_job: MakeJob, project_id: str) -> None:
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql("SET LOCAL TIME ZONE 'Pacific/Auckland'")
    midnight = T0.replace(hour=0)
    make_job(created_at=midnight)
    make_job(created_at=midnight + timedelta(hours=23, minutes=59))
    make_job(created_at=midnight - timedelta(microseconds=1))
    found = groups(conn, project_id, GroupBy.DAY)
    assert [(row.group, row.sums.jobs) for row in found] == [("2026-11-22", 1), ("2026-11-23", 2)]


def test_groups__the_dearest_first_and_no_more_than_asked(conn: Connection, make_job: MakeJob, project_id: str) -> None:
    make_job(model="cheap")
    succeeded(conn, credits_used=2_000_000)
    make_job(model="dear")
    succeeded(conn, credits_used=4_000_000)
    found = groups(conn, project_id, GroupBy.MODEL)
    assert [(row.group, row.sums.charged_micros) for row in found] == [("dear", 2_000_000), ("cheap", 1_000_000)]
    assert [row.group for row in groups(conn, project_id, GroupBy.MODEL, limit=1)] == ["dear"]


def test_groups__by_key_with_its_name(conn: Connection, make_job: MakeJob, project_id: str) -> None:
    key, _ = access.create_key(conn, project_id=project_id, name="laptop", scopes=DEFAULT_SCOPES, now=T0)
    make_job(key_id=key.id)
    make_job()
    found = groups(conn, project_id, GroupBy.KEY)
    assert {(row.group, row.name, row.sums.jobs) for row in found} == {(key.id, "laptop", 1), (None, None, 1)}


def test_groups__by_subject_and_only_the_owners(conn: Connection, make_job: MakeJob, project_id: str) -> None:
    make_job(subject="ann")
    make_job(subject="bob")
    make_job(project_id=access.create_project(conn, "other", now=T0).id, subject="ann")
    assert [(row.group, row.sums.jobs) for row in groups(conn, project_id, GroupBy.SUBJECT)] == [("ann", 1), ("bob", 1)]
    assert [row.group for row in groups(conn, project_id, GroupBy.SUBJECT, subject="ann")] == ["ann"]


def test_queue_depth__counts_what_goes_before(conn: Connection, make_job: MakeJob, project_id: str) -> None:
    make_job()
    make_job(priority=Priority.LOW)
    depths = [queue.depth(conn, project_id=project_id, priority=priority) for priority in Priority]
    assert depths == [0, 1, 2]
    assert queue.depth(conn, project_id=project_id, priority=Priority.LOW, at_most=1) == 1


def test_migration__reads_the_seconds_of_videos_that_are_there(database: Database) -> None:
    with database.transaction() as conn:
        known = schema.revisions()
        schema.downgrade(conn, to=known[known.index("0004") + 1])
    with database.transaction() as conn:
        conn.execute(sa.text("INSERT INTO projects (id, name, created_at) VALUES ('p', 'film', '2026-11-23T12:00:00')"))
        old = sa.Table("jobs", sa.MetaData(), autoload_with=conn)
        row = {column.name: 0 for column in old.columns if not column.nullable and column.server_default is None}
        times = {"due_at": T0, "created_at": T0, "started_at": T0, "finished_at": T0}
        row |= {"id": "job_1", "project_id": "p", "model": "veo2", "upstream_path": "/", "generation_id": "g"}
        row |= {"input": {}, "metadata": {}, "state": JobState.SUCCEEDED, "video": VIDEO, "settled": True}
        conn.execute(old.insert(), row | times)
    with database.transaction() as conn:
        schema.upgrade(conn)
        assert usage.total(conn, owner=Owner(project_id="p"), **WINDOW).seconds == 5.5
