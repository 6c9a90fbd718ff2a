"""A job, and a refusal, in the shape of the AI/ML API."""

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from app.domain.errors import ReelayError
from app.domain.job import Job
from app.domain.money import micros_to_credits
from app.domain.states import PublicStatus
from app.domain.views import JobView

PREFIXES = ("/v2/video/", "/v2/generate/video/")
"""Where everything is answered in this shape."""
GenerationStatus = Literal["queued", "generating", "completed", "error"]
_STATUSES: dict[PublicStatus, GenerationStatus] = {
    PublicStatus.QUEUED: "queued",
    PublicStatus.IN_PROGRESS: "generating",
    PublicStatus.SUCCEEDED: "completed",
    PublicStatus.FAILED: "error",
    PublicStatus.CANCELED: "error",
}


class GeneratedVideo(BaseModel):
    """The finished video; the URL is signed and expires."""

    url: str
    content_type: str
    file_name: str
    file_size: int


class GenerationFault(BaseModel):
    """Why there is no video."""

    name: str
    message: str


class Consumption(BaseModel):
    """What was charged, in the provider's credits: two million are a dollar."""

    credits_used: int


class Meta(BaseModel):
    """What the generation came to."""

    usage: Consumption


class Generation(BaseModel):
    """A job as programs for the AI/ML API know it."""

    id: str
    status: GenerationStatus
    video: GeneratedVideo | None
    error: GenerationFault | None
    meta: Meta | None = Field(description="Null until the cost is known.")


def generation(job: Job, view: JobView) -> Generation:
    """Return the job in this shape; the id is ours."""
    return Generation(
        id=job.id,
        status=_STATUSES[view.status],
        video=_video(job, view),
        error=_fault(view),
        meta=None
        if job.charged_micros is None
        else Meta(usage=Consumption(credits_used=micros_to_credits(job.charged_micros))),
    )


def _video(job: Job, view: JobView) -> GeneratedVideo | None:
    video = view.video
    if video is None:
        return None
    return GeneratedVideo(
        url=video.url, content_type=video.content_type, file_name=f"{job.id}.mp4", file_size=video.size_bytes
    )


def _fault(view: JobView) -> GenerationFault | None:
    if view.status is PublicStatus.CANCELED:
        return GenerationFault(name="canceled", message="The job was canceled.")
    return None if view.error is None else GenerationFault(name=view.error.code, message=view.error.message)


class Refusal(BaseModel):
    """What went wrong, as this API words it."""

    message: str
    path: str
    requestId: str | None  # noqa: N815  # its name there
    statusCode: int  # noqa: N815
    timestamp: str


def envelope(error: ReelayError, *, path: str, request_id: str | None) -> dict[str, Any]:
    """Return a refusal as this API words it."""
    moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    refusal = Refusal(message=error.message, path=path, requestId=request_id, statusCode=error.status, timestamp=moment)
    return refusal.model_dump()
