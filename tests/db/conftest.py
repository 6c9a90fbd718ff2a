"""Rows to begin with, and a clock that only the test moves."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.db import access, claims, files, jobs, settling, submissions
from app.db.claims import Lease
from app.db.engine import Connection, Database
from app.domain.ids import new_id
from app.domain.job import Job, Submission

T0 = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MakeJob = Callable[..., Job]


def later(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


@pytest.fixture
def conn(database: Database) -> Iterator[Connection]:
    """One transaction for the whole test, rolled back at its end."""
    with database.engine.execution_options(writing=True).connect() as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def project_id(conn: Connection) -> str:
    return access.create_project(conn, "film", now=T0).id


@pytest.fixture
def make_job(conn: Connection, project_id: str) -> MakeJob:
    def make(**given: Any) -> Job:
        values = {
            "id": new_id("job"),
            "project_id": project_id,
            "model": "veo2",
            "input": {"prompt": "A boat"},
            "due_at": T0,
            "created_at": T0,
            "upstream_path": "/v2/video/generations",
        }
        return jobs.insert(conn, Job(**values | given), file_ids=files.references((values | given)["input"]))

    return make


def admit(conn: Connection, *, now: datetime = T0, most: int = 10, token: str = "t1") -> list[tuple[Job, Submission]]:
    lease = Lease(token, now + timedelta(seconds=60))
    return claims.admit(conn, now=now, max_in_flight=most, lease=lease, worker="w1", deployment="d1")


def sending(conn: Connection, *, now: datetime = T0) -> tuple[Job, Submission]:
    """Admit the one queued job and mark its submission as leaving."""
    [(job, submission)] = admit(conn, now=now)
    assert submissions.mark_sending(conn, job, submission, now=now, lease_expires_at=now + timedelta(seconds=60))
    return job, submission


def accept(
    conn: Connection, submission: Submission, *, generation_id: str = "g1", credits_used: int | None = None
) -> None:
    submissions.record_accepted(
        conn, submission.id, now=T0, generation_id=generation_id, inference_id="i1", credits=credits_used
    )


def generating(conn: Connection, *, generation_id: str = "g1", credits_used: int | None = None) -> Job:
    """Bring the one queued job to `generating`."""
    job, submission = sending(conn)
    accept(conn, submission, generation_id=generation_id, credits_used=credits_used)
    moved = settling.settle(conn, job.id, now=T0, lease_token=job.lease_token)
    assert moved is not None
    return moved
