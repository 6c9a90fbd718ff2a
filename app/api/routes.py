"""Puts the front door together: routers, error answers, middleware, the OpenAPI document."""

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

from app.api import (
    admin_deliveries,
    admin_jobs,
    admin_keys,
    admin_overview,
    admin_projects,
    admin_upstream,
    aimlapi_video,
    content,
    creating,
    document,
    errors,
    events,
    files,
    forecasting,
    health,
    jobs,
    models,
    openai_videos,
    pages,
    scraping,
    tokens,
    usage,
    webhooks,
    whoami,
)
from app.api.cors import AllowList
from app.api.deps import House
from app.api.middleware import FrontDoor

DESCRIPTION = (
    "A self-hosted relay in front of a paid video-generation API: it keeps the key, the jobs and the videos. "
    "Send `Authorization: Bearer` with a key (`rly_...`) or a client token (`rlt_...`) on everything but health checks "
    "and signed URLs."
)


DOORS = (
    jobs, creating, forecasting, content, events, files, openai_videos, aimlapi_video, models, usage, tokens,
    webhooks, whoami, scraping, health,
    admin_overview, admin_jobs, admin_upstream, admin_projects, admin_keys, admin_deliveries, pages,
)  # fmt: skip
"""They are asked in this order: what is called most comes first."""
SIDE_DOORS = (scraping, health)
"""Those of a process without an API."""


def build(house: House, *, doors: tuple[Any, ...] = DOORS, lifespan: Any = None) -> FastAPI:
    """Return the application that serves `house`."""
    app = FastAPI(
        title="Reelay",
        version=version("reelay"),
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        # Its own would write the query strings of signed links into spans; ours are in app/tracing.py.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.house = house
    app.add_middleware(FrontDoor, allowed=AllowList(house.cors_origins))
    errors.install(app)
    for door in doors:
        app.include_router(door.router)
    written: list[dict[str, Any]] = []

    def openapi() -> dict[str, Any]:
        if not written:
            written.append(document.write(app, catalogue=house.catalogue))
        return written[0]

    app.openapi = openapi  # type: ignore[method-assign]  # the documented way to extend it
    return app
