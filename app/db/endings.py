"""What happens to finished jobs: they are retried as new ones, deleted, or expire."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import creations, delivery_log, events, files
from app.db.jobs import Owner, as_job, get, note
from app.db.tables import jobs
from app.domain.errors import Conflict
from app.domain.job import Job
from app.domain.states import RETRYABLE, TERMINAL, JobState, public_status

T = jobs.c


def live_retry(conn: Connection, job_id: str) -> Job | None:
    """Return the retry of the job that has not failed or been canceled itself, if there is one."""
    query = (
        sa.select(jobs)
        .where(T.retried_from == job_id, T.state.not_in(sorted(RETRYABLE)), T.deleted_at.is_(None))
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


@dataclass(frozen=True, slots=True)
class Remains:
    """Stored bytes that nothing shows any more, and the rows that still name them."""

    job_id: str
    storage_keys: list[str]
    file_ids: list[str]


def scrub(conn: Connection, job: Job, *, now: datetime) -> Remains:
    """Forget a finished job's content for good, keep its cost; return what is left to delete in the store.

    The caller holds the row's lock. From here on nobody can see or use the content; the rows name the bytes until
    `buried` says that they are gone, so that a storage that is away loses nothing. Raises Conflict for a job that our
    books still watch.
    """
    _require_finished(job)
    inputs = files.going_with(conn, job)
    files.condemn(conn, [file.id for file in inputs], now=now)
    files.unlink(conn, job.id)
    events.scrub(conn, job.id)
    delivery_log.scrub(conn, job.id)
    creations.scrub(conn, job.id)
    gone: dict[str, Any] = {
        "input": {},
        "metadata": {},
        "likeness": None,
        "error_message": None,
        "result_url": None,
        "webhook_url": None,
        "deleted_at": now,
    }
    note(conn, job, type="job.deleted", now=now, data={}, **gone)
    keys = [*_video_keys(job.video), *(file.storage_key for file in inputs)]
    return Remains(job.id, keys, [file.id for file in inputs])


def _video_keys(video: dict[str, Any] | None) -> list[str]:
    return [video[name] for name in ("key", "poster_key") if video.get(name)] if video else []


def unburied(conn: Connection, *, limit: int) -> list[Remains]:
    """Return deleted jobs whose video could not be deleted in the store so far."""
    query = sa.select(T.id, T.video).where(T.deleted_at.is_not(None), T.video.is_not(None)).limit(limit)
    return [Remains(row.id, _video_keys(row.video), []) for row in conn.execute(query)]


def buried(conn: Connection, remains: Remains) -> None:
    """The bytes are gone: forget their names."""
    files.delete(conn, remains.file_ids)
    conn.execute(jobs.update().where(T.id == remains.job_id, T.deleted_at.is_not(None)).values(video=None))


def _require_finished(job: Job) -> None:
    if job.state not in TERMINAL:
        raise Conflict(
            "Only a finished job can be deleted. Cancel it first, and delete it once its cost is known.",
            code="not_finished",
        )


def scrub_expired(conn: Connection, *, finished_before: datetime, now: datetime, limit: int) -> int:
    """Scrub finished jobs older than that; return how many. Their bytes are then among the `unburied`."""
    query = (
        sa.select(jobs)
        .where(T.finished_at < finished_before, T.state.in_(sorted(TERMINAL)), T.deleted_at.is_(None))
        .order_by(T.finished_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    old = [as_job(row) for row in conn.execute(query)]
    for job in old:
        scrub(conn, job, now=now)
    return len(old)
