"""The submit ledger: one row an attempt to buy, written before money can be spent; jobs are settled from it alone."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db.tables import jobs as jobs_table
from app.db.tables import submissions
from app.domain.errors import NotSent, Refusal, Refused, Unconfirmed, UpstreamFailure
from app.domain.job import Job, Submission, SubmissionState
from app.domain.states import JobState
from app.domain.usage_log import request_id

S = SubmissionState
T = submissions.c


def as_submission(row: Any) -> Submission:
    """Return the row as a Submission."""
    return Submission(**{**row._mapping, "state": SubmissionState(row.state)})


def prepare(
    conn: Connection, job: Job, *, now: datetime, worker: str, deployment: str, key_print: str | None = None
) -> Submission:
    """Write the row of the job's next attempt."""
    statement = (
        submissions.insert()
        .values(
            job_id=job.id,
            n=job.attempts,
            state=S.PREPARED,
            request_id=request_id(deployment, job.id, job.attempts),
            worker=worker,
            prepared_at=now,
            key_print=key_print,
        )
        .returning(*T)
    )
    return as_submission(conn.execute(statement).one())


def mark_sending(
    conn: Connection, job: Job, submission: Submission, *, now: datetime, lease_expires_at: datetime
) -> bool:
    """Commit that the POST leaves now. False, and nothing may be sent: the lease was lost or the job canceled."""
    held = (
        jobs_table.update()
        .where(
            jobs_table.c.id == job.id,
            jobs_table.c.state == JobState.SUBMITTING,
            jobs_table.c.version == job.version,
            jobs_table.c.lease_token == job.lease_token,
            jobs_table.c.lease_expires_at > now,
            jobs_table.c.cancel_requested_at.is_(None),
        )
        .values(lease_expires_at=lease_expires_at)
    )
    if conn.execute(held).rowcount != 1:
        return False
    marked = submissions.update().where(T.id == submission.id, T.state == S.PREPARED)
    return conn.execute(marked.values(state=S.SENDING, sent_at=now)).rowcount == 1


def record_accepted(
    conn: Connection,
    submission_id: int,
    *,
    now: datetime,
    generation_id: str,
    inference_id: str | None,
    credits: int | None,  # noqa: A002
) -> None:
    """Keep a paid answer on its own row: lease or no lease, whatever became of the job meanwhile."""
    conn.execute(
        submissions.update()
        .where(T.id == submission_id)
        .values(
            state=S.ACCEPTED,
            answered_at=now,
            generation_id=generation_id,
            inference_id=inference_id,
            credits=credits,
        )
    )


def record_failure(conn: Connection, submission_id: int, failure: UpstreamFailure, *, now: datetime) -> None:
    """Keep what the POST failed with. A row that already says accepted is never overwritten."""
    state = {NotSent: S.NOT_SENT, Refused: S.REFUSED}.get(type(failure), S.UNCONFIRMED)
    refusal = failure.refusal if isinstance(failure, Refused) else None
    conn.execute(
        submissions.update()
        .where(T.id == submission_id, T.state != S.ACCEPTED)
        .values(
            state=state,
            answered_at=now,
            http_status=failure.http_status,
            refusal=refusal,
            retry_after_seconds=failure.retry_after_seconds,
            message=failure.message,
        )
    )


def declare_not_created(conn: Connection, submission_id: int, *, by: str, now: datetime) -> None:
    """Keep that somebody looked and found nothing bought, whatever the row said before."""
    refusal = {"state": S.REFUSED, "refusal": Refusal.NOT_CREATED, "generation_id": None, "inference_id": None}
    statement = submissions.update().where(T.id == submission_id)
    conn.execute(statement.values(**refusal, credits=None, answered_at=now, message=f"Declared not created by {by}."))


def latest(conn: Connection, job: Job) -> Submission:
    """Return the job's latest attempt."""
    query = sa.select(submissions).where(T.job_id == job.id, T.n == job.attempts).with_for_update()
    return as_submission(conn.execute(query).one())


def remember(conn: Connection, job: Job, *, request_id: str, at: datetime) -> Submission:
    """Write the row of an attempt that only the log remembers, with the time that it had, or none that is later."""
    row = {"job_id": job.id, "n": job.attempts, "state": S.SENDING, "request_id": request_id}
    statement = submissions.insert().values(**row, worker="usage_log", prepared_at=at).returning(*T)
    return as_submission(conn.execute(statement).one())


def numbered(conn: Connection, job_id: str, n: int) -> Submission | None:
    """Return the job's attempt with this number."""
    row = conn.execute(sa.select(submissions).where(T.job_id == job_id, T.n == n)).one_or_none()
    return None if row is None else as_submission(row)


def refusals(conn: Connection, job: Job, refusal: str | None) -> int:
    """Return how many of the job's attempts were refused for this reason."""
    query = sa.select(sa.func.count()).where(T.job_id == job.id, T.state == S.REFUSED, T.refusal == refusal)
    counted: int = conn.execute(query.select_from(submissions)).scalar_one()
    return counted


def searched(conn: Connection, submission_id: int, *, at: datetime, seconds: float) -> None:
    """Note that a complete read of the log showed nothing of it, and for how long that has been watched by now."""
    conn.execute(submissions.update().where(T.id == submission_id).values(searched_at=at, searched_seconds=seconds))


def failure_of(submission: Submission) -> UpstreamFailure:
    """Read the failure back from its row; a row still `sending` lost its witness."""
    message = submission.message or "The answer to the paid request was never seen."
    match submission.state:
        case S.NOT_SENT:
            return NotSent(message)
        case S.REFUSED:
            return Refused(
                message,
                refusal=Refusal(submission.refusal or ""),
                http_status=submission.http_status or 0,
                retry_after_seconds=submission.retry_after_seconds,
            )
        case _:
            return Unconfirmed(message, http_status=submission.http_status)
