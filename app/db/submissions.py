"""The submit ledger: one row an attempt to buy, written before money can be spent; jobs are settled from it alone."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import durations, gate, jobs
from app.db.tables import jobs as jobs_table
from app.db.tables import submissions
from app.domain.errors import NotSent, Refusal, Refused, Unconfirmed, UpstreamFailure
from app.domain.job import Job, Submission, SubmissionState
from app.domain.money import credits_to_micros
from app.domain.retry import GiveUp, Hold, Uncertain, decide
from app.domain.states import JobState

S = SubmissionState
T = submissions.c


def _as_submission(row: Any) -> Submission:
    return Submission(**{**row._mapping, "state": SubmissionState(row.state)})


def prepare(conn: Connection, job: Job, *, now: datetime, worker: str, deployment: str) -> Submission:
    """Write the row of the job's next attempt. Its request id is what the upstream's log will know it by."""
    statement = (
        submissions.insert()
        .values(
            job_id=job.id,
            n=job.attempts,
            state=S.PREPARED,
            request_id=f"rly:{deployment}:{job.id}:{job.attempts}",
            worker=worker,
            prepared_at=now,
        )
        .returning(*T)
    )
    return _as_submission(conn.execute(statement).one())


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


def latest(conn: Connection, job: Job) -> Submission:
    """Return the job's latest attempt."""
    query = sa.select(submissions).where(T.job_id == job.id, T.n == job.attempts).with_for_update()
    return _as_submission(conn.execute(query).one())


def settle(conn: Connection, job_id: str, *, now: datetime, lease_token: str | None) -> Job | None:
    """Move a job by what its latest submission row says; None if there was nothing to do.

    The row is the only witness, so this is right for the worker that posted, for the sweep that finds a dead one's
    work, and for whoever resolves an unconfirmed job later. A paid answer counts with or without a lease; anything
    else moves a submitting job only in the name of the lease that it carries.
    """
    job = jobs.lock(conn, job_id)
    if job.state not in (JobState.SUBMITTING, JobState.UNCONFIRMED, JobState.ABANDONED):
        return None
    submission = latest(conn, job)
    if submission.state is S.ACCEPTED:
        return _settle_accepted(conn, job, submission, now=now)
    if job.state is JobState.SUBMITTING and job.lease_token != lease_token:
        return None
    match submission.state:
        case S.PREPARED:
            gate.end_trial(conn, now=now)
            return _back_to_queue(conn, job, now=now, due_at=now, reason=None)
        case S.SENDING | S.UNCONFIRMED if job.state is not JobState.SUBMITTING:
            return None
        case _:
            return _settle_failed(conn, job, submission, now=now)


def withdraw(conn: Connection, job: Job, *, now: datetime, due_at: datetime, reason: str | None) -> Job | None:
    """Give back, with nothing sent, a job that we hold; None if the lease was lost."""
    held = jobs.lock(conn, job.id)
    if held.state is not JobState.SUBMITTING or held.lease_token != job.lease_token:
        return None
    gate.end_trial(conn, now=now)
    return _back_to_queue(conn, held, now=now, due_at=due_at, reason=reason)


def _settle_accepted(conn: Connection, job: Job, submission: Submission, *, now: datetime) -> Job | None:
    _upstream_is_well(conn, submission)
    if job.generation_id is not None:
        return None
    taken = sa.select(jobs_table.c.id).where(jobs_table.c.generation_id == submission.generation_id)
    if conn.execute(taken).first() is not None:
        return _to_unconfirmed(conn, job, now=now, reason="generation_conflict")
    seen = durations.read(conn, job.model)
    charge = None if submission.credits is None else credits_to_micros(submission.credits)
    bought = {
        "generation_id": submission.generation_id,
        "started_at": now,
        "expected_seconds": seen.typical_seconds,
        "due_at": now,
        "charged_micros": charge,
        "charge_basis": None if charge is None else "reported",
    }
    data = {"attempt": submission.n}
    if job.state is JobState.ABANDONED:
        return jobs.note(conn, job, type="job.adopted", now=now, data=data, **bought)
    canceled = job.cancel_requested_at is not None
    to = JobState.ABANDONED if canceled else JobState.GENERATING
    return jobs.advance(conn, job, to=to, now=now, data=data, **bought)


def _upstream_is_well(conn: Connection, submission: Submission) -> None:
    """End the hold, if what the upstream has just done was asked for after the hold began."""
    held = gate.read(conn, lock=True)
    if held.held_since is not None and submission.prepared_at > held.held_since:
        gate.open_again(conn)


def _settle_failed(conn: Connection, job: Job, submission: Submission, *, now: datetime) -> Job | None:
    held = gate.read(conn, lock=True)
    decision = decide(_failure_of(submission), hold_level=held.hold_level)
    match decision:
        case Uncertain():
            return _to_unconfirmed(conn, job, now=now, reason=decision.message)
        case Hold(seconds, reason):
            # Those that left together fail together: only the first of them, and later trials, count.
            if held.held_since is None or submission.prepared_at > held.held_since:
                gate.hold(conn, now=now, until=now + timedelta(seconds=seconds), reason=reason)
            # Behind the next trial: one job that is always refused must not be the only one that is ever tried.
            due_at = now + timedelta(seconds=2 * seconds) if held.hold_level else now
            return _back_to_queue(conn, job, now=now, due_at=due_at, reason=reason)
        case GiveUp() if job.state is JobState.ABANDONED:
            _after_refusal(conn, submission)
            return jobs.advance(conn, job, to=JobState.CANCELED, now=now, settled=True)
        case GiveUp(code, message):
            _after_refusal(conn, submission)
            return jobs.advance(
                conn,
                job,
                to=JobState.FAILED,
                now=now,
                data={"attempt": submission.n, "code": code},
                error_code=code,
                error_message=message,
                billed=False,
                settled=True,
            )


def _after_refusal(conn: Connection, submission: Submission) -> None:
    """A refusal of this very job shows that the key and the upstream are well; our own says nothing of them."""
    if submission.http_status:
        _upstream_is_well(conn, submission)


def _failure_of(submission: Submission) -> UpstreamFailure:
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


def _back_to_queue(conn: Connection, job: Job, *, now: datetime, due_at: datetime, reason: str | None) -> Job | None:
    """Nothing was bought: queue again, or end here if the caller canceled meanwhile."""
    if job.cancel_requested_at is not None or job.state is JobState.ABANDONED:
        return jobs.advance(conn, job, to=JobState.CANCELED, now=now, settled=True)
    return jobs.advance(
        conn, job, to=JobState.QUEUED, now=now, data={"reason": reason}, due_at=due_at, wait_reason=reason
    )


def _to_unconfirmed(conn: Connection, job: Job, *, now: datetime, reason: str) -> Job | None:
    """Something may have been bought: never post again; what was estimated counts as spent until it is known."""
    if job.state is not JobState.SUBMITTING:
        return None
    canceled = job.cancel_requested_at is not None
    return jobs.advance(
        conn,
        job,
        to=JobState.ABANDONED if canceled else JobState.UNCONFIRMED,
        now=now,
        data={"reason": reason},
        wait_reason=None if canceled else "submission_unconfirmed",
    )
