"""/v1/admin/upstream: how submissions stand, and an operator's pause. Needs a key with the scope `admin`."""

from typing import Any

from fastapi import APIRouter, Request

from app.api import describing, noting, wire
from app.api.admin_views import PauseRequest, PauseView, UpstreamView
from app.api.deps import Admin, HouseDep, name_of
from app.api.schemas import checked
from app.db import claims, gate, log_reader
from app.db.engine import Connection
from app.db.gate import Gate
from app.domain.money import micros_to_usd

router = APIRouter(prefix="/v1/admin/upstream", tags=["admin"])


@router.get(
    "",
    summary="How submissions to the upstream stand",
    response_model=UpstreamView,
    responses=describing.answers(400, 401, 403, 503),
)
async def read_upstream(caller: Admin, house: HouseDep) -> UpstreamView:
    """A pause, holds, pace, places taken, the balance, and what waits for a person."""
    return await house.db.read(_view)


@router.post(
    "/pause",
    summary="Submit nothing",
    response_model=UpstreamView,
    responses=describing.answers(400, 401, 403, 413, 415, 503),
    openapi_extra=describing.body(PauseRequest, {"reason": "Waiting for the new contract."}),
)
async def pause_upstream(request: Request, caller: Admin, house: HouseDep) -> UpstreamView:
    """Let no job be bought until `resume`, on no replica, through restarts too.

    Jobs are taken and stay queued, with the reason `paused_by_operator`; what a worker has taken up already goes out,
    and what was bought is finished. Paused again, nothing changes.
    """
    body = await wire.parse_optional(request, cap=house.max_body_bytes)
    wish = checked(body.content, schema=PauseRequest, strict=True)

    def pause(conn: Connection) -> UpstreamView:
        if gate.pause(conn, by=name_of(caller), reason=wish.reason, now=house.db.now(conn)):
            noting.note(conn, "upstream.paused", "upstream", caller=caller, house=house, data={"reason": wish.reason})
        return _view(conn)

    return await house.db.write(pause, by=caller.actor)


@router.post(
    "/resume",
    summary="End the pause and all holds",
    response_model=UpstreamView,
    responses=describing.answers(400, 401, 403, 503),
)
async def resume_upstream(caller: Admin, house: HouseDep) -> UpstreamView:
    """Submit again at once and at full pace, as if the upstream had said that all is well. A refusal holds anew."""

    def resume(conn: Connection) -> UpstreamView:
        gate.resume(conn)
        noting.note(conn, "upstream.resumed", "upstream", caller=caller, house=house)
        return _view(conn)

    return await house.db.write(resume, by=caller.actor)


def _view(conn: Connection) -> UpstreamView:
    held, counts = gate.read(conn), log_reader.counts(conn)
    _, by_model = gate.reasons(conn)
    facts: dict[str, Any] = {
        "paused": _pause(held),
        "hold": held.hold_reason,
        "hold_since": held.held_since,
        "next_try_at": held.held_until,
        "model_holds": by_model,
        "pace_per_minute": held.pace_per_minute,
        "in_flight": claims.places_taken(conn),
        "balance_usd": None if held.balance_micros is None else micros_to_usd(held.balance_micros),
        "balance_at": held.balance_at,
    }
    return UpstreamView(
        **facts,
        unconfirmed=counts.unconfirmed,
        unresolved=counts.unresolved,
        parked=counts.parked,
        stray_purchases=counts.strays,
        log_read_at=counts.read_at,
    )


def _pause(held: Gate) -> PauseView | None:
    if held.paused_at is None:
        return None
    return PauseView(since=held.paused_at, by=held.paused_by or "", reason=held.pause_reason)
