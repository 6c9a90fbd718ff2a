"""Is the process alive, and can it serve? Open to everybody, so no secrets, and cached against hammering."""

import asyncio

import structlog
from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from app.api.deps import House, HouseDep
from app.db import deployment, gate, log_reader, schema
from app.db.engine import Connection
from app.db.overview import SILENT_AFTER
from app.domain.errors import StorageFailed, Unavailable

log = structlog.get_logger(__name__)
router = APIRouter(tags=["health"])
PATIENCE_SECONDS = 5.0


class Health(BaseModel):
    """The process lives."""

    status: str
    mode: str


class Readiness(BaseModel):
    """`ready`; `degraded`, which still serves; or `unavailable`. `reasons` says why."""

    status: str
    reasons: list[str]


@router.head("/healthz", operation_id="head_health", include_in_schema=False)
@router.get("/healthz", summary="Is the process alive?", response_model=Health)
async def healthz(house: HouseDep) -> Response:
    """Answers as long as the process lives, whatever else is broken."""
    return JSONResponse({"status": "ok", "mode": house.mode}, headers={"Cache-Control": "no-store"})


@router.head("/readyz", operation_id="head_readiness", include_in_schema=False)
@router.get("/readyz", summary="Can it serve?", response_model=Readiness, responses={503: {"model": Readiness}})
async def readyz(house: HouseDep) -> Response:
    """503 only for the database, the storage or a schema older than this build; anything else degrades."""
    status, reasons = await house.readiness.get(lambda: _examined(house))
    return JSONResponse(
        {"status": status, "reasons": reasons},
        status_code=503 if status == "unavailable" else 200,
        headers={"Cache-Control": "no-store"},
    )


async def _examined(house: House) -> tuple[str, list[str]]:
    (blocking, degrading), storage = await asyncio.gather(_database(house), _storage(house))
    if blocking or storage:
        return "unavailable", [*blocking, *storage]
    return ("degraded" if degrading else "ready"), degrading


async def _database(house: House) -> tuple[list[str], list[str]]:
    """Return what keeps us from serving, and what only degrades."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            if not await house.db.read(schema.is_ready):
                return ["schema_outdated"], []
            return [], await house.db.read(lambda conn: _degrading(conn, house))
    except (Unavailable, TimeoutError) as error:
        log.error("database_unavailable", reason=str(error))
        return ["database_unavailable"], []


def _degrading(conn: Connection, house: House) -> list[str]:
    reasons = []
    held, by_model = gate.reasons(conn)
    if held is not None:
        reasons.append(f"submissions_held: {held}")
    reasons += [f"model_held: {model}: {reason}" for model, reason in sorted(by_model.items())]
    counts = log_reader.counts(conn)
    for name, number in (("unresolved_jobs", counts.unresolved), ("parked_jobs", counts.parked)):
        if number:
            reasons.append(f"{name}: {number}")
    beat_at = deployment.last_beat(conn)
    if beat_at is None or house.db.now(conn) - beat_at > SILENT_AFTER:
        reasons.append("no_worker")
    return reasons


async def _storage(house: House) -> list[str]:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await house.store.check()
    except (StorageFailed, TimeoutError) as error:
        log.error("storage_unavailable", reason=str(error))
        return ["storage_unavailable"]
    return []
