"""/v1/admin/jobs: what an operator sees and decides of every project's jobs. Needs a key with the scope `admin`."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.api import describing, listing, showing, wire
from app.api.callers import Caller
from app.api.deps import Admin, House, HouseDep, name_of, require_working
from app.api.replies import reply
from app.api.schemas import JobList, Resolution, checked
from app.db import events, jobs, resolving
from app.db.engine import Connection
from app.db.jobs import Owner
from app.db.signals import job_topic
from app.domain.errors import Conflict
from app.domain.job import Job
from app.domain.views import JobView

router = APIRouter(prefix="/v1/admin", tags=["admin"])
EVERYBODY = Owner(project_id=None)
CHECKED_WITHIN_SECONDS = 20.0
LOOK_AGAIN_SECONDS = 1.0


@router.get(
    "/jobs",
    summary="List the jobs of every project",
    response_model=JobList,
    responses=describing.answers(400, 401, 403, 503),
    openapi_extra=describing.METADATA_FILTER,
)
async def list_all_jobs(
    *,
    caller: Admin,
    house: HouseDep,
    narrowed: listing.Narrowed,
    limit: listing.Limit = 20,
    after: listing.After = None,
    unresolved: Annotated[bool, Query(description="Only jobs that a person must decide about.")] = False,
) -> Response:
    """Every project's jobs, newest first."""
    wanted = replace(narrowed, unresolved=unresolved)
    page = partial(jobs.page, owner=EVERYBODY, filter=wanted, limit=limit, after=after)
    return reply(await house.db.read(lambda conn: showing.show_page(conn, page(conn), house=house, caller=caller)))


@router.post(
    "/jobs/{job_id}/resolve",
    summary="Decide about a job that may have been bought",
    response_model=JobView,
    responses=describing.answers(400, 401, 403, 404, 409, 413, 415, 503) | describing.CLAIM_PENDING,
    openapi_extra=describing.RESOLVE_BODY,
)
async def resolve_job(job_id: str, request: Request, caller: Admin, house: HouseDep) -> Response:
    """Attach a generation, declare that nothing was bought, or give up. Each is an event with the key that did it.

    A generation is first checked by the worker, which alone holds the upstream's key: it must be free, of the job's
    model, and known upstream. 202 if that takes longer; the job's timeline then tells.
    """
    body = await wire.parse_optional(request, cap=house.max_body_bytes)
    wish = checked(body.content, schema=Resolution, strict=True)

    def resolve(conn: Connection) -> tuple[Job, JobView]:
        job = _resolve(conn, job_id, wish=wish, by=name_of(caller), house=house)
        return job, showing.show(conn, job, house=house, caller=caller)

    job, view = await house.db.write(resolve, by=caller.actor)
    if wish.generation_id is not None:
        job, view = await _checked_claim(job, house=house, caller=caller)
    return showing.answer(view, job, status=202 if job.attachment is not None else 200)


def _resolve(conn: Connection, job_id: str, *, wish: Resolution, by: str, house: House) -> Job:
    now = house.db.now(conn)
    match wish.action:
        case "not_created":
            return resolving.not_created(conn, job_id, by=by, now=now)
        case "give_up":
            return resolving.give_up(conn, job_id, by=by, now=now)
        case "attach":
            generation_id = wish.generation_id or ""
            return resolving.claim_generation(conn, job_id, generation_id=generation_id, by=by, now=now)


async def _checked_claim(asked: Job, *, house: House, caller: Caller) -> tuple[Job, JobView]:
    """Wait for the worker's word on a claim; raise Conflict if it is wrong."""

    def look(conn: Connection) -> tuple[Job, JobView, str | None]:
        require_working(conn, caller, now=house.db.now(conn))
        job = jobs.get(conn, asked.id, owner=EVERYBODY)
        later = events.of_job(conn, job.id, after=asked.event_count)
        refused = [str(event.data.get("reason")) for event in later if event.type == "job.attach_refused"]
        return job, showing.show(conn, job, house=house, caller=caller), refused[0] if refused else None

    clock = asyncio.get_running_loop()
    deadline = clock.time() + CHECKED_WITHIN_SECONDS
    with house.db.signals.listen(job_topic(asked.id)) as changed:
        while True:
            changed.clear()
            job, view, refused = await house.db.read(look)
            if refused is not None:
                raise Conflict(refused, code="attach_refused")
            if job.attachment is None or clock.time() >= deadline or house.closing.is_set():
                return job, view
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                    await changed.wait()
