"""Jobs after they were made: read, list, cancel, delete."""

from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.api import describing, listing, showing, uploads, waiting
from app.api.deps import HouseDep, Reader, Writer
from app.api.replies import reply
from app.api.schemas import JobList
from app.db import endings, jobs
from app.db.endings import Remains
from app.db.engine import Connection
from app.domain.job import Job
from app.domain.states import JobState
from app.domain.views import JobView

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.get(
    "",
    summary="List jobs",
    response_model=JobList,
    responses=describing.answers(400, 401, 403, 503),
    openapi_extra=describing.METADATA_FILTER,
)
async def list_jobs(
    *,
    caller: Reader,
    house: HouseDep,
    narrowed: listing.Narrowed,
    limit: listing.Limit = 20,
    after: listing.After = None,
    order: Literal["asc", "desc"] = "desc",
) -> Response:
    """The project's jobs, newest first. Pages stay right while jobs are added."""
    page = partial(jobs.page, owner=caller.owner, filter=narrowed, limit=limit, after=after, order=order)
    return reply(await house.db.read(lambda conn: showing.show_page(conn, page(conn), house=house, caller=caller)))


@router.get(
    "/{job_id}",
    summary="Read a job",
    response_model=JobView,
    responses=describing.answers(400, 401, 403, 404, 503) | describing.NOT_MODIFIED,
    openapi_extra=describing.IF_NONE_MATCH,
)
async def read_job(
    job_id: str,
    request: Request,
    caller: Reader,
    house: HouseDep,
    wait: Annotated[int | None, Query(ge=0, le=waiting.LONGEST_WAIT_SECONDS)] = None,
) -> Response:
    """The job as it stands. `wait=N` answers when it is finished or N seconds are over.

    With `If-None-Match` as well it answers when the job's state changes, with 304 if it did not within N seconds.
    """
    known = request.headers.get("if-none-match")
    preferred = waiting.preferred_seconds(request) if wait is None else 0
    seconds = wait or preferred
    done = waiting.ended if known is None else partial(_has_news, known=known)
    job, view = await waiting.until(done, job_id=job_id, house=house, caller=caller, seconds=seconds)
    response = showing.answer(view, job, headers=waiting.applied(preferred))
    nothing_new = bool(seconds and known) and not _has_news(job, known=known)
    if nothing_new or showing.unchanged(known, response.headers["etag"]):
        return showing.not_modified(response)
    return response


def _has_news(job: Job, *, known: str | None) -> bool:
    """Tell whether one who waits is to be answered. A finished job always is: nothing more will come."""
    return waiting.ended(job) or not showing.same_state(known, job)


@router.post(
    "/{job_id}/cancel",
    summary="Cancel a job",
    response_model=JobView,
    responses=describing.answers(400, 401, 403, 404, 409, 503) | describing.CANCEL_NOTED,
)
async def cancel_job(job_id: str, caller: Writer, house: HouseDep) -> Response:
    """Cancel a job: 200 if it is canceled now (or was), 202 while it is being submitted, 409 if it is too late.

    What was bought already is charged: the provider offers no cancelation.
    """

    def cancel(conn: Connection) -> tuple[Job, JobView]:
        job = jobs.cancel(conn, job_id, owner=caller.owner, now=house.db.now(conn))
        return job, showing.show(conn, job, house=house, caller=caller)

    job, view = await house.db.write(cancel, by=caller.actor)
    return showing.answer(view, job, status=202 if job.state is JobState.SUBMITTING else 200)


@router.delete(
    "/{job_id}",
    status_code=204,
    summary="Delete a finished job",
    responses=describing.answers(400, 401, 403, 404, 409, 503),
)
async def delete_job(job_id: str, caller: Writer, house: HouseDep) -> Response:
    """Forget a finished job's video, input and metadata for good. What it cost stays in the books."""

    def scrub(conn: Connection) -> Remains:
        job = jobs.get(conn, job_id, owner=caller.owner, lock=True)
        return endings.scrub(conn, job, now=house.db.now(conn))

    remains = await house.db.write(scrub, by=caller.actor)
    # From here on nobody sees it. With the storage away the bytes go later: the sweep finds them by their rows.
    if await uploads.discard(remains.storage_keys, store=house.store):
        await house.db.write(partial(endings.buried, remains=remains))
    return Response(status_code=204)
