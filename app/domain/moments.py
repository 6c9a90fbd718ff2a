"""What of a job changes, as it was at one moment: an event is sent as of then, however late it gets through.

The rest, prompt and all, is read from the job when it is sent. So nothing of a deleted job lingers here.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from app.domain.job import Job
from app.domain.states import JobState, public_status

_PLAIN = (
    *("attempts", "expected_seconds", "wait_reason", "parked", "error_code", "error_message", "billed", "video"),
    *("estimated_micros", "charged_micros", "charge_basis", "extra_micros", "reserved_micros", "settled"),
)
_TIMES = ("started_at", "finished_at", "cancel_requested_at")


def moment_of(job: Job) -> dict[str, Any]:
    """Return what changes about the job, as JSON can hold it."""
    times = {name: getattr(job, name) for name in _TIMES}
    kept = {name: getattr(job, name) for name in _PLAIN}
    return kept | {name: at and at.isoformat() for name, at in times.items()} | {"state": str(job.state)}


def as_of(job: Job, moment: dict[str, Any]) -> Job:
    """Return the job as it was then. What an older build did not keep yet is as it is now."""
    changed: dict[str, Any] = {name: moment[name] for name in _PLAIN if name in moment}
    changed |= {name: moment[name] and datetime.fromisoformat(moment[name]) for name in _TIMES if name in moment}
    return replace(job, **changed, state=JobState(moment["state"]))


def remains_of(job_id: str, moment: dict[str, Any]) -> dict[str, Any]:
    """Return all that is told of a job that was deleted."""
    return {"id": job_id, "status": public_status(JobState(moment["state"]))}


def scrubbed(moment: dict[str, Any]) -> dict[str, Any]:
    """Return all that is kept of a moment once its job is deleted."""
    return {"state": moment["state"]}
