"""What happens to finished jobs: they are retried as new ones, deleted, or expire."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import events, files
from app.db.jobs import Owner, as_job, get
from app.db.tables import jobs
from app.domain.errors import Conflict
from app.domain.job import File, Job
from app.domain.states import TERMINAL, JobState, public_status

T = jobs.c
RETRYABLE = (JobState.FAILED, JobState.CANCELED, JobState.ABANDONED)


def live_retry(conn: Connection, job_id: str) -> Job | None:
    """Return the retry of the job that has not failed or been canceled itself, if there is one."""
    query = (
        sa.select(jobs)
        .where(T.retried_from == job_id, T.state.not_in(RETRYABLE), T.deleted_at.is_(None))
        .order_by(T.id.desc())
    )
    row = conn.execute(query.limit(1)).one_or_none()
    return None if row is None else as_job(row)


def retryable(conn: Connection, job_id: str, *, owner: Owner, accept_new_charge: bool) -> Job:
    """Return the owner's job, locked, if a new one may be made from it; raise Conflict with what to do otherwise."""
    job = get(conn, job_id, owner=owner, lock=True)
    if job.state not in RETRYABLE:
        raise Conflict(
            f"Only a failed or canceled job can be retried; this one is {public_status(job.state)}.",
            code="not_retryable",
        )
    may_be_billed = job.state is JobState.ABANDONED or bool(job.billed) or bool(job.charged_micros)
    if may_be_billed and not accept_new_charge:
        raise Conflict(
            'This job was or may have been billed. Send {"accept_new_charge": true} to buy another generation.',
            code="new_charge_not_accepted",
        )
    return job


def content_of(conn: Connection, job: Job) -> list[str]:
    """Return the storage keys that go with a finished job: its video, its poster, the inputs that only it uses.

    Raises Conflict for a job that our books still watch.
    """
    _require_finished(job)
    return _content(job, files.going_with(conn, job))


def scrub(conn: Connection, job: Job, *, now: datetime) -> list[str]:
    """Forget a finished job's content for good, keep its cost; return the storage keys to delete.

    The caller holds the row's lock. Raises Conflict for a job that our books still watch.
    """
    _require_finished(job)
    inputs = files.going_with(conn, job)
    files.delete(conn, [file.id for file in inputs])
    events.scrub(conn, job.id)
    conn.execute(
        jobs.update()
        .where(T.id == job.id)
        .values(input={}, metadata={}, error_message=None, result_url=None, video=None, deleted_at=now)
    )
    return _content(job, inputs)


def _content(job: Job, inputs: list[File]) -> list[str]:
    video = job.video or {}
    kept = [video[name] for name in ("key", "poster_key") if video.get(name)]
    return [*kept, *(file.storage_key for file in inputs)]


def _require_finished(job: Job) -> None:
    if job.state not in TERMINAL:
        raise Conflict(
            "Only a finished job can be deleted. Cancel it first, and delete it once its cost is known.",
            code="not_finished",
        )


def expired(conn: Connection, *, finished_before: datetime, limit: int) -> list[Job]:
    """Return finished jobs older than that, locked."""
    query = (
        sa.select(jobs)
        .where(T.finished_at < finished_before, T.state.in_(sorted(TERMINAL)), T.deleted_at.is_(None))
        .order_by(T.finished_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [as_job(row) for row in conn.execute(query)]
