"""What an operator decides about a job that may have been bought: it is this generation, it was not, or give up."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from app.db import jobs, outcomes, submissions
from app.db.settling import carrier, settle
from app.db.signals import RECONCILE, announce
from app.db.tables import strays
from app.domain.errors import Conflict
from app.domain.job import Job

GIVEN_UP_MESSAGE = (
    "Nobody could tell whether the upstream accepted this job, and an operator gave it up. It may have been billed."
)


def not_created(conn: Connection, job_id: str, *, by: str, now: datetime) -> Job:
    """Nothing was bought: back to the queue, or closed if its caller had canceled. Raises NotFound and Conflict."""
    job = _noted(conn, job_id, action="not_created", by=by, now=now)
    submissions.declare_not_created(conn, submissions.latest(conn, job).id, by=by, now=now)
    return _moved(settle(conn, job.id, now=now, lease_token=None))


def give_up(conn: Connection, job_id: str, *, by: str, now: datetime) -> Job:
    """Nobody will ever know: fail, charged as estimated. Raises NotFound and Conflict."""
    job = _noted(conn, job_id, action="give_up", by=by, now=now)
    cost = outcomes.known_cost(job, None)
    return _moved(
        outcomes.ended_without_video(
            conn, job, code="submission_unconfirmed", message=GIVEN_UP_MESSAGE, cost=cost, billed=True, now=now
        )
    )


def claim_generation(conn: Connection, job_id: str, *, generation_id: str, by: str, now: datetime) -> Job:
    """Note that the generation is said to be this job's; the reconciler checks it. Raises NotFound and Conflict."""
    require_free(conn, generation_id)
    claim = {"generation_id": generation_id, "by": by}
    job = _resolvable(conn, job_id)
    announce(conn, RECONCILE)
    return jobs.note(conn, job, type="job.attach_requested", now=now, data=claim, attachment=claim)


def attach(conn: Connection, job_id: str, *, now: datetime) -> Job | None:
    """The claim was checked: from here on the job carries the generation. None if it has moved meanwhile."""
    job = jobs.lock(conn, job_id)
    if job.attachment is None or not job.is_doubtful:
        return None
    generation_id = str(job.attachment["generation_id"])
    require_free(conn, generation_id)
    extra = job.extra_micros - _unbooked(conn, generation_id)
    _note_resolved(conn, job, action="attach", by=str(job.attachment["by"]), now=now, extra_micros=extra)
    submission = submissions.latest(conn, job)
    submissions.record_accepted(
        conn, submission.id, now=now, generation_id=generation_id, inference_id=None, credits=None
    )
    return settle(conn, job.id, now=now, lease_token=None, told_by="operator")


def _unbooked(conn: Connection, generation_id: str) -> int:
    """Take the generation off the strays, if the log showed it while another attempt was the latest; return its price.

    From here on the job's charge counts it.
    """
    taken = strays.delete().where(strays.c.inference_id == generation_id).returning(strays.c.micros)
    return conn.execute(taken).scalar_one_or_none() or 0


def refuse_claim(conn: Connection, job_id: str, *, reason: str, now: datetime) -> None:
    """The claim was checked and is wrong: the job stays as it was."""
    job = jobs.lock(conn, job_id)
    if job.attachment is not None:
        data = {**job.attachment, "reason": reason}
        jobs.note(conn, job, type="job.attach_refused", now=now, data=data, attachment=None)


def require_free(conn: Connection, generation_id: str) -> None:
    """Raise Conflict if the generation is another job's already."""
    taken_by = carrier(conn, generation_id)
    if taken_by is not None:
        raise Conflict(f"This generation belongs to {taken_by} already.", code="generation_taken")


def _resolvable(conn: Connection, job_id: str) -> Job:
    job = jobs.find(conn, job_id, lock=True)
    if job is None or job.deleted_at is not None:
        raise jobs.not_found(job_id)
    if not job.is_doubtful:
        raise Conflict(
            f"This job is {job.state} and nobody doubts what was bought for it. Only an unconfirmed job, or a canceled "
            "one whose purchase is unknown, can be resolved.",
            code="not_unconfirmed",
        )
    return job


def _noted(conn: Connection, job_id: str, *, action: str, by: str, now: datetime) -> Job:
    return _note_resolved(conn, _resolvable(conn, job_id), action=action, by=by, now=now)


def _note_resolved(conn: Connection, job: Job, *, action: str, by: str, now: datetime, **changes: Any) -> Job:
    return jobs.note(conn, job, type="job.resolved", now=now, data={"action": action, "by": by}, **changes)


def _moved(job: Job | None) -> Job:
    if job is None:
        raise AssertionError("a locked job in doubt cannot be moved by others")
    return job
