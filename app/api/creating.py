"""POST /v1/jobs and POST /v1/jobs/{id}/retry: the ways to a new job. Once its row is committed the answer is 2xx."""

from datetime import timedelta
from functools import partial

import structlog
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from app.api import describing, estimating, orders, retrying, showing, uploads, waiting, wire
from app.api.callers import Caller
from app.api.deps import Creator, House, HouseDep, require_open
from app.api.orders import Order
from app.api.schemas import RetryRequest, checked
from app.api.uploads import Intake
from app.db import files, jobs
from app.db.engine import Connection
from app.domain.errors import NotFound, Unavailable
from app.domain.ids import new_id
from app.domain.job import Job, Priority
from app.domain.money import Estimate
from app.domain.views import JobView

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.post(
    "",
    status_code=201,
    summary="Make a video",
    response_model=JobView,
    responses=describing.answers(400, 401, 403, 413, 415, 503),
    openapi_extra=describing.JOB_BODY,
)
async def create_job(request: Request, caller: Creator, house: HouseDep) -> Response:
    """Queue a job. Everything is checked before anything is stored; nothing is bought before the answer.

    With `Prefer: wait=N` (1 to 60) the answer comes when the job is finished or N seconds are over.
    """
    order = await orders.read_order(request, catalogue=house.catalogue, cap=house.max_body_bytes)
    quoted = estimating.quote(order.model, order.input, rules=await estimating.rules(house))
    estimating.require_within(quoted, cap_micros=estimating.cap_of(order.request.max_cost_usd))
    intake = Intake(house, order.attached)
    await intake.take(order)
    orders.require_storable_size(intake.input)
    await uploads.store_all(intake.uploads, store=house.store)
    job, view = await _commit(order, intake=intake, caller=caller, quoted=quoted)
    return await _created(job, view, house=house, caller=caller, seconds=waiting.preferred_seconds(request))


@router.post(
    "/{job_id}/retry",
    status_code=201,
    summary="Retry a failed or canceled job",
    response_model=JobView,
    responses=describing.answers(400, 401, 403, 404, 409, 413, 415, 503) | describing.LIVE_RETRY,
    openapi_extra=describing.RETRY_BODY,
)
async def retry_job(job_id: str, request: Request, caller: Creator, house: HouseDep) -> Response:
    """Make a new job of the same request. Repeated, it returns the retry that is under way (200)."""
    body = await wire.parse_optional(request, cap=house.max_body_bytes)
    wish = checked(body, schema=RetryRequest, strict=True)
    rules = await estimating.rules(house)

    def retry(conn: Connection) -> tuple[Job, JobView, bool]:
        charge = wish.accept_new_charge
        job, is_new = retrying.retry(
            conn, job_id=job_id, accept_new_charge=charge, rules=rules, house=house, caller=caller
        )
        return job, showing.show(conn, job, house=house, caller=caller), is_new

    job, view, is_new = await house.db.write(retry)
    seconds = waiting.preferred_seconds(request)
    return await _created(job, view, house=house, caller=caller, seconds=seconds, status=201 if is_new else 200)


async def _commit(order: Order, *, intake: Intake, caller: Caller, quoted: Estimate) -> tuple[Job, JobView]:
    """Write the job with its files in one transaction; if that fails the stored bytes are deleted again."""
    house, job_id = intake.house, new_id("job")
    insert = partial(_insert, job_id=job_id, order=order, intake=intake, caller=caller, quoted=quoted)
    stored = [upload.storage_key for upload in intake.uploads]
    try:
        return await house.db.write(insert)
    except Unavailable:
        # The database may have committed and died before it said so: then the job is made, and must be answered.
        def find(conn: Connection) -> tuple[Job, JobView]:
            job = jobs.get(conn, job_id, owner=caller.owner)
            return job, showing.show(conn, job, house=house, caller=caller)

        try:
            return await house.db.read(find)
        except NotFound:
            await uploads.discard(stored, store=house.store)
        except Unavailable:
            log.error("job_outcome_unknown", job_id=job_id, keys=stored)
        raise
    except Exception:
        await uploads.discard(stored, store=house.store)
        raise


def _insert(
    conn: Connection, *, job_id: str, order: Order, intake: Intake, caller: Caller, quoted: Estimate
) -> tuple[Job, JobView]:
    now = intake.house.db.now(conn)
    require_open(conn, caller)
    uploads.record(conn, intake, caller=caller, now=now)
    request, seconds = order.request, order.request.start_within_seconds
    job = jobs.insert(
        conn,
        Job(
            id=job_id,
            project_id=caller.key.project_id,
            key_id=caller.key.id,
            subject=caller.key.subject,
            model=order.model.id,
            input=intake.input,
            metadata=request.metadata,
            priority=Priority[request.priority.upper()],
            upstream_path=order.model.path,
            max_cost_micros=estimating.cap_of(request.max_cost_usd),
            estimated_micros=quoted.micros,
            estimate_basis=quoted.basis,
            on_unconfirmed=request.on_unconfirmed,
            start_by=None if seconds is None else now + timedelta(seconds=seconds),
            due_at=now,
            created_at=now,
        ),
        file_ids=files.references({name: intake.input.get(name) for name in order.model.media_parameters}),
    )
    return job, showing.show(conn, job, house=intake.house, caller=caller)


async def _created(
    job: Job, view: JobView, *, house: House, caller: Caller, seconds: int, status: int = 201
) -> Response:
    """Answer with a committed job, whatever happens: an error would make the client post, and pay, again."""
    headers = {"Location": f"/v1/jobs/{job.id}"} | waiting.applied(seconds)
    try:
        if seconds:
            job, view = await waiting.until(waiting.ended, job_id=job.id, house=house, caller=caller, seconds=seconds)
        return showing.answer(view, job, status=status, headers=headers)
    except Exception:
        log.exception("job_answer_failed", job_id=job.id)
        return JSONResponse(showing.at_least(job, house=house, caller=caller), status_code=status, headers=headers)
