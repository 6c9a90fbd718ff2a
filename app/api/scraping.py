"""/metrics: what this process counted and what the database knows, for Prometheus. Never open to strangers."""

import asyncio
import secrets
from functools import partial

import structlog
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app import exposition
from app.api import describing
from app.api.deps import Given, House, HouseDep, identify
from app.db import figures
from app.domain.errors import Unavailable
from app.domain.figures import Figures
from app.domain.secrets import Scope

log = structlog.get_logger(__name__)
router = APIRouter(tags=["health"])
PATIENCE_SECONDS = 5.0
_TEXT: describing.Described = {
    200: {"description": "The metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


async def _scraper(request: Request, house: HouseDep, given: Given) -> None:
    """Let in who shows the token for metrics, or an operator's key."""
    token = house.metrics_token
    if token is not None and given is not None and secrets.compare_digest(given.credentials.encode(), token.encode()):
        return
    await identify(request, house, given, scope=Scope.ADMIN)


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    dependencies=[Depends(_scraper)],
    responses=_TEXT | describing.answers(401, 403, 503),
)
async def metrics(house: HouseDep) -> Response:
    """What this process counted, and the figures of the whole deployment, read every five seconds at most."""
    text = await asyncio.to_thread(exposition.written, await _figures(house), folder=house.data_dir)
    return Response(text, headers={"Content-Type": exposition.CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})


async def _figures(house: House) -> Figures | None:
    """Return the figures; None while the database is away, which the scrape then tells."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await house.figures.get(lambda: house.db.read(partial(figures.read, db=house.db)))
    except (Unavailable, TimeoutError) as error:
        log.error("figures_unavailable", reason=str(error))
        return None
