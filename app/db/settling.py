"""Settle: move a job by what its latest submission row says. The row is the only witness, whoever comes to ask it."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import durations, gate, jobs, revoking
from app.db.submissions import failure_of, latest, refusals
from app.db.tables import jobs as jobs_table
from app.domain.job import Job, Submission
from app.domain.job import SubmissionState as S
from app.domain.money import credits_to_micros
from app.domain.pacing import Pace
from app.domain.retry import MOST_DOUBTS, Again, GiveUp, Hold, HoldModel, Uncertain, after_doubts, decide
from app.domain.states import DOUBTFUL, OCCUPYING, JobState


def settle(
    conn: Connection, job_id: str, *, now: datetime, lease_token: str | None, told_by: str | None = None
) -> Job | None:
    """Move a job by what its latest submission row says; None if there was nothing to do.

    Right for the worker that posted, for the sweep that finds a dead one's work, and for whoever learns of an
    unconfirmed job later, whom `told_by` then names in the event. A paid answer counts with or without a lease;
    anything else moves a submitting job only in the name of the lease that it carries.
    """
    job = jobs.lock(conn, job_id)
    if job.state not in DOUBTFUL | {JobState.SUBMITTING}:
        return None
    submission = latest(conn, job)
    if submission.state is S.ACCEPTED:
        return _settle_accepted(conn, job, submission, now=now, told_by=told_by)
    if job.state is JobState.SUBMITTING and job.lease_token != lease_token:
        return None
    match submission.state:
        case S.PREPARED:
            gate.end_trial(conn, job.model, now=now)
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
    gate.end_trial(conn, job.model, now=now)
    return _back_to_queue(conn, held, now=now, due_at=due_at, reason=reason)


def _settle_accepted(
    conn: Connection, job: Job, submission: Submission, *, now: datetime, told_by: str | None
) -> Job | None:
    _upstream_is_well(conn, job, submission)
    if job.generation_id is not None:
        return None
    if carrier(conn, submission.generation_id or "") is not None:
        return _to_unconfirmed(conn, job, now=now, reason="generation_conflict")
    # The generation has only begun: nothing used so far is not yet its cost.
    charge = credits_to_micros(submission.credits) if submission.credits else None
    bought = {
        "generation_id": submission.generation_id,
        "started_at": now,
        "expected_seconds": durations.read(conn, job.model, job.input).typical_seconds,
        "due_at": now,
        "charged_micros": charge,
        "charge_basis": None if charge is None else "reported",
        "search_ended_at": None,
    }
    data = {"attempt": submission.n} | ({} if told_by is None else {"told_by": told_by})
    if job.state is JobState.ABANDONED:
        return jobs.note(conn, job, type="job.adopted", now=now, data=data, **bought)
    canceled = job.cancel_requested_at is not None
    to = JobState.ABANDONED if canceled else JobState.GENERATING
    return jobs.advance(conn, job, to=to, now=now, data=data, **bought)


def carrier(conn: Connection, generation_id: str) -> str | None:
    """Return the id of the job that a generation belongs to, if there is one."""
    taken = sa.select(jobs_table.c.id).where(jobs_table.c.generation_id == generation_id)
    found: str | None = conn.execute(taken).scalar_one_or_none()
    return found


def _upstream_is_well(conn: Connection, job: Job, submission: Submission) -> None:
    """End the holds, if what the upstream has just done was asked for after they began; and go a little faster."""
    # Without the lock first, as all submissions settle here. A hold that begins at this moment is newer than this one.
    if not gate.read(conn).is_untroubled:
        held = gate.read(conn, lock=True)
        if held.pace_per_minute is not None:
            gate.set_pace(conn, Pace(held.pace_per_minute, held.next_admission_at).faster())
        if held.asked_since_hold(submission.prepared_at):
            gate.open_again(conn)
    of_model = gate.held_models(conn).get(job.model)
    if of_model is not None and submission.prepared_at > of_model.held_since:
        gate.release_model(conn, job.model)


def _settle_failed(conn: Connection, job: Job, submission: Submission, *, now: datetime) -> Job | None:
    held = gate.read(conn, lock=True)
    of_model = gate.held_models(conn).get(job.model)
    model_level = 0 if of_model is None else of_model.level
    decision = decide(
        failure_of(submission),
        hold_level=held.hold_level,
        model_level=model_level,
        refusals=refusals(conn, job, submission.refusal),
    )
    match decision:
        case Uncertain():
            _count_doubt(conn, job, submission, held=held, now=now)
            return _to_unconfirmed(conn, job, now=now, reason=decision.message)
        case Hold(reason=reason):
            _hold_all(conn, job, submission, decision, held=held, now=now)
            # Behind the next trial: one job that is always refused must not be the only one that is ever tried.
            due_at = now + timedelta(seconds=2 * decision.seconds) if held.hold_level else now
            return _back_to_queue(conn, job, now=now, due_at=due_at, reason=reason)
        case HoldModel(seconds, reason):
            if of_model is None or submission.prepared_at > of_model.held_since:
                until = now + timedelta(seconds=seconds)
                gate.hold_model(conn, job.model, now=now, until=until, reason=reason, level=model_level + 1)
            return _back_to_queue(conn, job, now=now, due_at=now, reason=reason)
        case Again(seconds, reason):
            return _back_to_queue(conn, job, now=now, due_at=now + timedelta(seconds=seconds), reason=reason)
        case GiveUp() if submission.http_status:
            # A refusal of this very job shows that the key and the upstream are well; our own says nothing of them.
            _upstream_is_well(conn, job, submission)
        case GiveUp():
            gate.end_trial(conn, job.model, now=now)
    return _fail_unbought(conn, job, submission, decision, now=now)


def _fail_unbought(conn: Connection, job: Job, submission: Submission, end: GiveUp, *, now: datetime) -> Job | None:
    if job.state is JobState.ABANDONED:
        return jobs.advance(conn, job, to=JobState.CANCELED, now=now, settled=True)
    return jobs.advance(
        conn,
        job,
        to=JobState.FAILED,
        now=now,
        data={"attempt": submission.n, "code": end.code},
        error_code=end.code,
        error_message=end.message,
        billed=False,
        settled=True,
    )


def _hold_all(
    conn: Connection, job: Job, submission: Submission, decision: Hold, *, held: gate.Gate, now: datetime
) -> None:
    """Begin a hold, or make it longer: of those that left together only the first counts, and later the trials."""
    if not held.asked_since_hold(submission.prepared_at):
        return
    until = now + timedelta(seconds=decision.seconds)
    needed = job.estimated_micros if decision.reason == "upstream_out_of_credits" else None
    gate.hold(
        conn, now=now, until=until, reason=decision.reason, probe_first=decision.probe_first, needed_micros=needed
    )
    if decision.reason == "upstream_rate_limited":
        gate.set_pace(conn, Pace(held.pace_per_minute, held.next_admission_at).slower())


def committed_micros(conn: Connection) -> int:
    """Return the estimates of what is under way: bought, not yet taken off the upstream's balance."""
    running = sa.select(sa.func.coalesce(sa.func.sum(jobs_table.c.estimated_micros), 0)).where(
        jobs_table.c.state.in_(sorted(OCCUPYING)), jobs_table.c.generation_id.is_not(None)
    )
    return int(conn.execute(running).scalar_one())


def _count_doubt(conn: Connection, job: Job, submission: Submission, *, held: gate.Gate, now: datetime) -> None:
    """Several in a row that nobody knows of: hold, before every queued job has become unconfirmed."""
    if job.state is not JobState.SUBMITTING:
        return
    gate.doubt(conn)
    # A trial that ends in doubt is enough: the others must not wait for a word that never comes.
    doubts = held.doubts + 1 if held.held_since is None else MOST_DOUBTS
    decision = after_doubts(doubts, hold_level=held.hold_level)
    if decision is not None:
        _hold_all(conn, job, submission, decision, held=held, now=now)


def _back_to_queue(conn: Connection, job: Job, *, now: datetime, due_at: datetime, reason: str | None) -> Job | None:
    """Nothing was bought: queue again, or end here if the caller canceled, or its key or project ended, meanwhile."""
    canceled = job.cancel_requested_at is not None or job.state is JobState.ABANDONED
    if canceled or revoking.is_unwanted(conn, job):
        return jobs.advance(conn, job, to=JobState.CANCELED, now=now, settled=True)
    changes: dict[str, Any] = {"due_at": due_at, "wait_reason": reason, "search_ended_at": None}
    return jobs.advance(conn, job, to=JobState.QUEUED, now=now, data={"reason": reason}, **changes)


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
