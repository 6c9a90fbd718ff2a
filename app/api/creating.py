"""POST /v1/jobs and POST /v1/jobs/{id}/retry: the two ways to a new job. Once its row is committed the answer is 2xx."""

from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import structlog
from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.responses import JSONResponse, Response

from app.api import describing, estimating, orders, showing, uploads, waiting, wire
from app.api.callers import Caller
from app.api.deps import Creator, House, HouseDep, archived
from app.api.estimating import Quote
from app.api.orders import Order
from app.api.schemas import RetryRequest, checked
from app.api.uploads import Intake
from app.db import access, endings, files, jobs
from app.domain.errors import Conflict, NotFound, Unavailable
from app.domain.ids import new_id
from app.domain.job import Job, Priority
from app.domain.views import JobView, render_job

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.post(
    "",
    status_code=201,
    summary="Make a video",
    response_model=JobView,
    responses=describing.answers(400, 401, 403, 413, 415, 503, headers={201: describing.CREATED}),
    openapi_extra=describing.JOB_BODY,
)
async def create_job(request: Request, caller: Creator, house: HouseDep) -> Response:
    """Queue a job. Everything is checked before anything is stored; nothing is bought before the answer.

    With `Prefer: wait=N` (1 to 60) the answer comes when the job is finished or N seconds are over.
    """
    order = await orders.read_order(request, catalogue=house.catalogue, cap=house.max_body_bytes)
    quote = estimating.quote(order.model, order.input, rules=await estimating.rules(house))
    max_cost = estimating.require_within(quote, max_cost_usd=order.request.max_cost_usd)
    intake = Intake(house, order.attached)
    await intake.take(order)
    orders.require_storable_size(intake.input)
    await uploads.store_all(intake.uploads, store=house.store)
    job = _ordered(order, intake, caller=caller, quote=quote, max_cost_micros=max_cost)
    job = await _commit(job, order=order, intake=intake, caller=caller)
    return await _created(job, house=house, caller=caller, seconds=waiting.preferred_seconds(request))


@router.post(
    "/{job_id}/retry",
    status_code=201,
    summary="Retry a failed or canceled job",
    response_model=JobView,
    responses=describing.answers(
        400, 401, 403, 404, 409, 413, 415, 503, extra={200: describing.LIVE_RETRY}, headers={201: describing.CREATED}
    ),
    openapi_extra=describing.RETRY_BODY,
)
async def retry_job(job_id: str, request: Request, caller: Creator, house: HouseDep) -> Response:
    """Make a new job of the same request. Repeated, it returns the retry that is under way (200)."""
    body = await wire.parse_optional(request, cap=house.max_body_bytes)
    wish = checked(body, schema=RetryRequest, strict=True)
    rules = await estimating.rules(house)
    retried = await house.db.write(
        partial(_retry, job_id=job_id, wish=wish, quoted=partial(estimating.quote, rules=rules), house=house, caller=caller)
    )
    seconds = waiting.preferred_seconds(request)
    return await _created(retried.job, house=house, caller=caller, seconds=seconds, status=201 if retried.is_new else 200)
