"""The one public shape of a job and its events: what GET answers, and later live events and webhooks carry."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, Field

from app.domain import pacing
from app.domain.job import Event, Job, Priority
from app.domain.money import micros_to_usd
from app.domain.signing import Signer
from app.domain.states import JobState, PublicStatus, public_status


class QueueView(BaseModel):
    position: int | None = Field(description="Place among the project's queued jobs, 1 being next; null once it left.")
    reason: str | None = Field(description="Why it waits, when something holds it back.")


class VideoView(BaseModel):
    url: str = Field(description="Signed and expiring; plays in a <video> element.")
    poster_url: str | None
    content_type: str
    size_bytes: int
    sha256: str
    duration_seconds: float | None
    width: int | None
    height: int | None
    fps: float | None


class CostView(BaseModel):
    estimated_usd: float | None
    charged_usd: float | None
    basis: Literal["reported", "estimated"] | None
    reserved_usd: float = Field(
        description="What is kept of the project's budget until the charge is known; with no estimate, the default."
    )
    settled: bool


class JobErrorView(BaseModel):
    code: str
    message: str
    billed: bool


class JobView(BaseModel):
    """A job as its owner sees it."""

    id: str
    object: Literal["job"] = "job"
    status: PublicStatus
    state: JobState
    model: str
    input: dict[str, Any]
    metadata: dict[str, str]
    subject: str | None
    priority: Literal["low", "normal", "high"]
    progress: int = Field(ge=0, le=100)
    queue: QueueView
    eta_seconds: int | None
    overdue: bool
    attempts: int
    created_at: datetime
    started_at: datetime | None
    cancel_requested_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    events_url: str
    retried_from: str | None = None
    reused_from: str | None = Field(default=None, description="The job whose video it got again, at no cost.")
    video: VideoView | None
    cost: CostView
    error: JobErrorView | None


class EventView(BaseModel):
    """One fact in a job's timeline."""

    id: str | None = Field(description="null for `job.progress`, which is stored nowhere.")
    object: Literal["event"] = "event"
    type: str
    created_at: datetime
    data: dict[str, Any]


class ByView(BaseModel):
    """Who caused something, as far as whoever sees the job may know."""

    key_id: str | None = Field(default=None, description="The key; for a client token the one that minted it.")
    token_id: str | None = None
    subject: str | None = None
    on_host: bool = Field(default=False, description="An operator at the command line of the service's host.")


class TimelineView(EventView):
    """One fact in a job's timeline, and who caused it."""

    by: ByView | None = Field(description="null for what the service does by itself.")


@dataclass(frozen=True, slots=True)
class Viewer:
    """For whom a view is made: its URLs are absolute, and those a browser opens are signed in the name of one key."""

    public_url: str
    signer: Signer
    key_id: str
    retention: timedelta | None
    """How long finished jobs are kept; None keeps them until they are deleted."""
    ends_at: datetime | None = None
    """When that key, or the sign-in that came in its name, ends by itself, and its URLs with it."""

    def content_url(self, job: Job, use: Literal["video", "poster"], now: datetime) -> str:
        return f"{self.public_url}/v1/jobs/{job.id}/content?{self._query(job, use, now)}"

    def events_url(self, job: Job, now: datetime) -> str:
        return f"{self.public_url}/v1/jobs/{job.id}/events?{self._query(job, 'events', now)}"

    def _query(self, job: Job, use: str, now: datetime) -> str:
        return self.signer.query(job_id=job.id, use=use, key_id=self.key_id, now=now, ends_at=self.ends_at)

    def expires_at(self, job: Job) -> datetime | None:
        return None if job.finished_at is None or self.retention is None else job.finished_at + self.retention


@dataclass(frozen=True, slots=True)
class Waiting:
    """Where a queued job stands."""

    position: int | None = None
    reason: str | None = None


def render_job(
    job: Job, *, now: datetime, viewer: Viewer, waiting: Waiting | None = None, links_at: datetime | None = None
) -> JobView:
    """Render the public view of `job` at the moment `now`; links are signed then, or at `links_at`."""
    waiting = waiting or Waiting()
    return JobView(
        id=job.id,
        status=public_status(job.state),
        state=job.state,
        model=job.model,
        input=job.input,
        metadata=job.metadata,
        subject=job.subject,
        priority=_priority_name(job.priority),
        progress=_progress(job, now),
        queue=QueueView(position=waiting.position, reason=_reason(job, waiting)),
        eta_seconds=_eta(job, now),
        overdue=_overdue(job, now),
        attempts=job.attempts,
        created_at=job.created_at,
        started_at=job.started_at,
        cancel_requested_at=job.cancel_requested_at,
        finished_at=job.finished_at,
        expires_at=viewer.expires_at(job),
        events_url=viewer.events_url(job, now),
        retried_from=job.retried_from,
        reused_from=job.reused_from,
        video=_video(job, links_at or now, viewer),
        cost=_cost(job),
        error=_error(job),
    )


def render_event(event: Event) -> EventView:
    """Render one entry of a job's timeline."""
    data = {"job_id": event.job_id, "status": public_status(event.state), "state": event.state, **event.data}
    return EventView(id=event.id, type=event.type, created_at=event.created_at, data=data)


def render_progress(job: Job, *, now: datetime) -> EventView:
    """Render how far a job is, as an event that is told live and stored nowhere."""
    data = {"job_id": job.id, "status": public_status(job.state), "state": job.state}
    told = {"progress": _progress(job, now), "eta_seconds": _eta(job, now), "overdue": _overdue(job, now)}
    return EventView(id=None, type="job.progress", created_at=now, data=data | told)


def render_entry(event: Event) -> TimelineView:
    """Render one entry of a job's timeline with who caused it: neither their address nor their request."""
    by = None if event.actor is None else ByView.model_validate(event.actor)
    return TimelineView(**render_event(event).model_dump(), by=by)


def _reason(job: Job, waiting: Waiting) -> str | None:
    """What concerns this very job goes before what holds them all."""
    return job.wait_reason if job.parked else waiting.reason or job.wait_reason


def _priority_name(priority: int) -> Literal["low", "normal", "high"]:
    match Priority(priority):
        case Priority.LOW:
            return "low"
        case Priority.HIGH:
            return "high"
        case Priority.NORMAL:
            return "normal"


def _elapsed(job: Job, now: datetime) -> float:
    if job.started_at is None:
        return 0.0
    return max(0.0, ((job.finished_at or now) - job.started_at).total_seconds())


def _progress(job: Job, now: datetime) -> int:
    if job.state is JobState.SUCCEEDED:
        return 100
    if job.state is JobState.SAVING:
        return pacing.CAP_UNFINISHED
    if job.started_at is None or job.expected_seconds is None:
        return 0
    return pacing.progress(_elapsed(job, now), job.expected_seconds)


def _eta(job: Job, now: datetime) -> int | None:
    if job.state is JobState.SAVING:
        return 1
    if job.state is not JobState.GENERATING or job.expected_seconds is None or _overdue(job, now):
        return None
    return pacing.eta_seconds(_elapsed(job, now), job.expected_seconds)


def _overdue(job: Job, now: datetime) -> bool:
    watched = job.state is JobState.GENERATING and job.expected_seconds is not None
    return watched and pacing.overdue(_elapsed(job, now), job.expected_seconds or 0.0)


def _video(job: Job, now: datetime, viewer: Viewer) -> VideoView | None:
    if job.state is not JobState.SUCCEEDED or job.video is None:
        return None
    facts = {name: value for name, value in job.video.items() if name in VideoView.model_fields}
    poster_url = viewer.content_url(job, "poster", now) if job.video.get("poster_key") else None
    return VideoView(url=viewer.content_url(job, "video", now), poster_url=poster_url, **facts)


def _cost(job: Job) -> CostView:
    """What it cost, with what the upstream's log shows beyond the generation that the job carries."""
    unknown = job.charged_micros is None and not job.extra_micros and job.reused_from is None
    return CostView(
        estimated_usd=None if job.estimated_micros is None else micros_to_usd(job.estimated_micros),
        charged_usd=None if unknown else micros_to_usd((job.charged_micros or 0) + job.extra_micros),
        basis=job.charge_basis,
        reserved_usd=micros_to_usd(job.held_micros),
        settled=job.settled,
    )


def _error(job: Job) -> JobErrorView | None:
    if job.error_code is None:
        return None
    return JobErrorView(code=job.error_code, message=job.error_message or "", billed=bool(job.billed))
