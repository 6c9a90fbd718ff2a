"""A job in the shape of the OpenAI Videos API."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from app.api import openai_sizes
from app.catalogue.catalogue import Model
from app.domain.errors import InvalidRequest, NotFound
from app.domain.job import Job
from app.domain.states import JobState, PublicStatus
from app.domain.views import JobView

VideoStatus = Literal["queued", "in_progress", "completed", "failed"]
_STATUSES: dict[PublicStatus, VideoStatus] = {
    PublicStatus.QUEUED: "queued",
    PublicStatus.IN_PROGRESS: "in_progress",
    PublicStatus.SUCCEEDED: "completed",
    PublicStatus.FAILED: "failed",
    PublicStatus.CANCELED: "failed",
}
_PREFIX, _JOB_PREFIX = "video_", "job_"


class VideoFault(BaseModel):
    """Why there is no video."""

    code: str
    message: str


class VideoObject(BaseModel):
    """A job as the OpenAI SDK knows it; `state` is ours."""

    id: str
    object: Literal["video"] = "video"
    model: str
    status: VideoStatus
    progress: int = Field(ge=0, le=100)
    created_at: int = Field(description="Seconds since 1970, as all times here.")
    completed_at: int | None
    expires_at: int | None
    seconds: str | None = Field(description="As asked for, or by the model's default; null where neither says.")
    size: str | None = Field(description="WIDTHxHEIGHT, of the finished video or as asked for.")
    prompt: str | None
    remixed_from_video_id: str | None
    error: VideoFault | None
    state: JobState


class VideoPage(BaseModel):
    """One page of videos."""

    object: Literal["list"] = "list"
    data: list[VideoObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedVideo(BaseModel):
    """What deleting a video answers."""

    id: str
    object: Literal["video.deleted"] = "video.deleted"
    deleted: Literal[True] = True


def video_id(job_id: str) -> str:
    """Return the name that a job has here."""
    return _PREFIX + job_id.removeprefix(_JOB_PREFIX)


def job_id(given: str) -> str:
    """Return the job's own id; raise NotFound for what is no id of a video."""
    if not given.startswith(_PREFIX):
        raise NotFound(f"There is no video {given[:80]!r} here. Their ids begin with {_PREFIX!r}.")
    return _JOB_PREFIX + given.removeprefix(_PREFIX)


@contextmanager
def asked_for(given: str) -> Iterator[str]:
    """Return the job's own id for a video's, and name the video by the latter where there is no such job."""
    found = job_id(given)
    try:
        yield found
    except NotFound as error:
        if error.code == NotFound.code:
            raise NotFound(f"There is no video {given[:80]!r} here. Check the id and the key's project.") from None
        raise


def cursor(after: str) -> str:
    """Return the id of the job after which a page begins; raise InvalidRequest for what is no id of a video."""
    try:
        return job_id(after)
    except NotFound as error:
        raise InvalidRequest(error.message, code="invalid_cursor", param="after") from None


@contextmanager
def flat_params() -> Iterator[None]:
    """Name the fields at fault as this API does: the model's parameters stand beside the others."""
    try:
        yield
    except InvalidRequest as error:
        error.param = None if error.param is None else error.param.removeprefix("input.")
        raise


def video_object(job: Job, view: JobView, *, model: Model | None) -> VideoObject:
    """Return the job in this shape; `model` is None if it is no longer offered."""
    prompt = job.input.get("prompt")
    return VideoObject(
        id=video_id(job.id),
        model=job.model,
        status=_STATUSES[view.status],
        progress=view.progress,
        created_at=int(job.created_at.timestamp()),
        completed_at=_seconds(job.finished_at) if job.state is JobState.SUCCEEDED else None,
        expires_at=_seconds(view.expires_at),
        seconds=_length(job, view, model=model),
        size=_size(job, view, model=model),
        prompt=prompt if isinstance(prompt, str) else None,
        remixed_from_video_id=None if job.remixed_from is None else video_id(job.remixed_from),
        error=_fault(view),
        state=view.state,
    )


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())


def _length(job: Job, view: JobView, *, model: Model | None) -> str | None:
    asked = None if model is None else openai_sizes.seconds_of(model, job.input)
    if asked is not None or view.video is None or view.video.duration_seconds is None:
        return asked
    return str(round(view.video.duration_seconds))


def _size(job: Job, view: JobView, *, model: Model | None) -> str | None:
    if view.video is not None and view.video.width and view.video.height:
        return f"{view.video.width}x{view.video.height}"
    return None if model is None else openai_sizes.size_of(model, job.input)


def _fault(view: JobView) -> VideoFault | None:
    if view.status is PublicStatus.CANCELED:
        return VideoFault(code="canceled", message="The job was canceled.")
    return None if view.error is None else VideoFault(code=view.error.code, message=view.error.message)
