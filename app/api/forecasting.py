"""POST /v1/jobs/estimate: what a job would cost and when it would be done, without making it."""

import math

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api import describing, estimating, offering, orders, reusing, uploads, webhook_urls, wire
from app.api.callers import Caller
from app.api.deps import Creator, House, HouseDep
from app.api.intake import Intake
from app.api.orders import Order
from app.api.schemas import EstimateView, QuoteView
from app.db import durations, gate, queue
from app.db.engine import Connection
from app.domain import pacing
from app.domain.errors import InvalidRequest
from app.domain.job import Priority
from app.domain.money import Estimate, micros_to_usd

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.post(
    "/estimate",
    summary="Estimate a job",
    response_model=EstimateView,
    responses=describing.answers(400, 401, 403, 413, 415, 503),
    openapi_extra=describing.JOB_BODY,
)
async def estimate_job(request: Request, caller: Creator, house: HouseDep) -> Response:
    """Check a job as its creation would, and price it. Nothing is stored or spent.

    What is wrong in the request is refused as it would be there. `valid` is false where only `max_cost_usd` stands in
    the way: the estimate is above it, or the price is not known.
    """
    body = await wire.parse(request, cap=house.max_body_bytes)
    offer = await offering.offer(house)
    order = await wire.off_loop(body.size, lambda: orders.order_of(body.content, offer))
    reusing.require_seed(order)
    webhook_urls.require_own(order.request.webhook_url, caller=caller, house=house)
    quoted = estimating.quote(order.model, order.input, rules=await estimating.rules(house))
    intake = Intake(house, order.attached)
    await intake.take(order)
    orders.require_storable_size(intake.input)

    def forecast(conn: Connection) -> tuple[int, int | None]:
        uploads.require_known(conn, intake, caller=caller)
        return _wait(conn, order, house=house, caller=caller)

    ahead, eta_seconds = await house.db.read(forecast)
    view = EstimateView(
        valid=_within_cap(order, quoted),
        cost=QuoteView(
            estimated_usd=None if quoted.micros is None else micros_to_usd(quoted.micros),
            basis=quoted.basis,
            reserved_usd=micros_to_usd(house.to_reserve(quoted)),
            assumption=quoted.assumption,
        ),
        eta_seconds=eta_seconds,
        queue_depth=ahead,
    )
    return Response(view.model_dump_json(), media_type="application/json")


def _within_cap(order: Order, quoted: Estimate) -> bool:
    try:
        estimating.require_within(quoted, cap_micros=estimating.cap_of(order.request.max_cost_usd))
    except InvalidRequest:
        return False
    return True


def _wait(conn: Connection, order: Order, *, house: House, caller: Caller) -> tuple[int, int | None]:
    """Return how many jobs would go before this one, and the seconds to its end; None while submissions are held."""
    priority = Priority[order.request.priority.upper()]
    ahead = queue.depth(conn, project_id=caller.key.project_id, priority=priority)
    if gate.read(conn).hold_reason is not None:
        return ahead, None
    places = min(house.max_in_flight, caller.project.max_in_flight or house.max_in_flight)
    typical = durations.read(conn, order.model.id).of(order.model.id, order.input).typical_seconds
    return ahead, math.ceil(pacing.seconds_with_queue(typical, ahead=ahead, places=places))
