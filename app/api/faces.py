"""What a face is: one of the APIs through which the same jobs are made and told of; and a call that comes so."""

from dataclasses import dataclass
from typing import Protocol

from starlette.responses import Response

from app.api.callers import Caller
from app.api.deps import House
from app.db.creations import Asked
from app.domain.job import Job
from app.domain.views import JobView


class Face(Protocol):
    """How one of our APIs tells of a job."""

    def body(self, job: Job, view: JobView) -> str:
        """Return the job as JSON; of a new one it is stored for whoever asks the same again."""
        ...

    def location(self, job_id: str) -> str:
        """Return the job's address on this face."""
        ...

    def first(self, body: str, *, status: int | None, headers: dict[str, str]) -> Response:
        """Answer with a body that was stored; `status` is None for a job that was new when it was written."""
        ...

    def latest(self, job: Job, view: JobView, *, status: int | None, headers: dict[str, str]) -> Response:
        """Answer with a job as it stands; `status` is None for a new one."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One request for a new job: who asks, how it is known again, and how the face it came through tells of jobs."""

    house: House
    caller: Caller
    asked: Asked
    face: Face
