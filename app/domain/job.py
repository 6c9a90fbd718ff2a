"""The rows that the rest of the house talks about: a job, a submission, an event, a file."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any

from app.domain.states import DOUBTFUL, JobState


class Priority(IntEnum):
    """Orders the jobs of one project, lower first; never one project before another."""

    HIGH = -1
    NORMAL = 0
    LOW = 1


class SubmissionState(StrEnum):
    """How far one attempt to buy a generation came."""

    PREPARED = "prepared"
    """Written with the claim; nothing has left the house."""
    SENDING = "sending"
    """Committed immediately before the POST; from here on it may have been bought."""
    ACCEPTED = "accepted"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    UNCONFIRMED = "unconfirmed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One accepted request, as its row says. Money is in micro-dollars, times are aware and in UTC."""

    id: str
    project_id: str
    key_id: str | None = None
    token_id: str | None = None
    """The client token it was made with, if it was; `key_id` is then the key that minted it."""
    subject: str | None = None
    model: str
    input: dict[str, Any]
    metadata: dict[str, str] = field(default_factory=dict)
    priority: int = Priority.NORMAL
    state: JobState = JobState.QUEUED
    version: int = 1
    attempts: int = 0
    saves: int = 0
    bad_results: int = 0
    event_count: int = 0
    due_at: datetime
    wait_reason: str | None = None
    lease_token: str | None = None
    lease_expires_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    start_by: datetime | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    deleted_at: datetime | None = None
    retried_from: str | None = None
    remixed_from: str | None = None
    """The job whose input this one has, with another prompt."""
    likeness: str | None = None
    """The hash of all that decides about its video; None without a seed of the caller's."""
    reused_from: str | None = None
    """The job whose video it got, copied, instead of one that is bought."""
    upstream_path: str
    generation_id: str | None = None
    expected_seconds: float | None = None
    empty_since: datetime | None = None
    result_url: str | None = None
    max_cost_micros: int | None = None
    estimated_micros: int | None = None
    estimate_basis: str | None = None
    charged_micros: int | None = None
    charge_basis: str | None = None
    settled: bool = False
    error_code: str | None = None
    error_message: str | None = None
    billed: bool | None = None
    video: dict[str, Any] | None = None
    video_seconds: float | None = None
    on_unconfirmed: str = "hold"
    search_ended_at: datetime | None = None
    """When the usage log had been searched long enough without a trace of the latest submission."""
    extra_micros: int = 0
    """What purchases cost that the log shows beyond the one this job carries."""
    reserved_micros: int = 0
    """What is kept of the project's budget for it, until its cost is settled."""
    each_micros: int | None = None
    """What one purchase is taken to cost without an estimate, once room for several is reserved."""
    webhook_url: str | None = None
    """Where its own events are sent, beside the project's endpoints."""
    polled_at: datetime | None = None
    """When its generation was last asked after, by whichever worker."""
    traceparent: str | None = None
    """The span of the request that made it, if that was traced: what follows is told as its children."""
    polls: int | None = None
    """How often a poll was booked; the first time, when the generation began, nobody was asked."""
    parked: bool = False
    """Came from a restored database: not bought before the log has told what was bought meanwhile."""
    attachment: dict[str, Any] | None = None
    """An operator's claim that a generation is this job's, until the worker has checked it: `generation_id`, `by`."""

    @property
    def held_micros(self) -> int:
        """What its reservation still holds of the budget of the month in which it was made.

        A charge told while it runs may be too little: it only takes its own share of the reservation.
        """
        return 0 if self.settled else max(0, self.reserved_micros - (self.charged_micros or 0))

    @property
    def spent_micros(self) -> int:
        """What was spent for it, as far as anybody knows."""
        return (self.charged_micros or 0) + self.extra_micros

    @property
    def expected_micros(self) -> int | None:
        """What one purchase is taken to cost while nobody says more: its estimate, or what was reserved without one."""
        known = self.estimated_micros if self.estimated_micros is not None else self.each_micros
        return known if known is not None else self.reserved_micros or None

    @property
    def is_doubtful(self) -> bool:
        """Whether it may have been bought without our knowing the generation."""
        return self.generation_id is None and self.state in DOUBTFUL


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One attempt to buy a generation; a row in the submit ledger."""

    id: int
    job_id: str
    n: int
    state: SubmissionState
    request_id: str
    worker: str
    prepared_at: datetime
    sent_at: datetime | None = None
    answered_at: datetime | None = None
    http_status: int | None = None
    generation_id: str | None = None
    inference_id: str | None = None
    credits: int | None = None
    refusal: str | None = None
    retry_after_seconds: float | None = None
    message: str | None = None
    key_print: str | None = None
    """Which upstream key it was sent with: only that key's log can show it."""
    searched_at: datetime | None = None
    searched_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An immutable fact about a job, numbered within it."""

    id: str
    job_id: str
    n: int
    project_id: str
    type: str
    state: JobState
    data: dict[str, Any]
    created_at: datetime
    actor: dict[str, Any] | None = None
    """Who caused it, as `Actor.facts` has it; None for the service itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """An upload that we hold until it expires. A sound has neither width nor height."""

    id: str
    project_id: str
    subject: str | None
    content_type: str
    size_bytes: int
    width: int | None
    height: int | None
    sha256: str
    storage_key: str
    created_at: datetime
    expires_at: datetime
    scaled_from: dict[str, int] | None = None
    """Width and height as uploaded, of an image that was scaled down."""
