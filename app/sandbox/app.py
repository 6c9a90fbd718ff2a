"""The sandbox as an ASGI application: which path leads where, and the headers that every answer carries."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.catalogue.catalogue import Catalogue, load
from app.catalogue.facts import PATHS
from app.sandbox import account, judge, models, polls, submissions
from app.sandbox.answers import (
    Dropped,
    GatewayFailed,
    Refused,
    render_dropped,
    render_gateway_failed,
    render_refused,
)
from app.sandbox.config import SandboxConfig
from app.sandbox.mishaps import troubled
from app.sandbox.sandbox import Sandbox, client_request_id, new_inference_id


def create_app(config: SandboxConfig, catalogue: Catalogue | None = None) -> Starlette:
    """Build a sandbox. Faults that break connections need `sandbox.server` around it."""
    sandbox = Sandbox(config, catalogue or load())

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(sandbox.close)

    app = Starlette(
        routes=_routes(),
        lifespan=lifespan,
        exception_handlers={
            Refused: render_refused,
            GatewayFailed: render_gateway_failed,
            Dropped: render_dropped,
            ClientDisconnect: render_dropped,
            HTTPException: _render_http_exception,
        },
    )
    app.add_middleware(TracingHeaders)
    app.state.sandbox = sandbox
    return app


def _routes() -> list[BaseRoute]:
    sold = [
        Route(path, endpoint, methods=[method])
        for path in PATHS
        for method, endpoint in (("POST", submissions.submit), ("GET", polls.fetch))
    ]
    return [
        *sold,
        Route("/v2/logs", troubled("logs", account.logs)),
        Route("/v2/billing", troubled("billing", account.billing)),
        Route("/v2/billing/detail", troubled("billing", account.billing_detail)),
        Route("/v2/billing/transactions", troubled("billing", account.transactions)),
        Route("/v1/models", troubled("models", models.models)),
        Route("/models/metrics", troubled("models", models.metrics)),
        Route("/results/{seq:int}/{name}", polls.download),
        Route("/_sandbox/ledger", judge.ledger),
        Route("/_sandbox/stats", judge.stats),
        Route("/_sandbox/reset", judge.reset, methods=["POST"]),
        Route("/_sandbox/faults", judge.show_faults, methods=["GET"]),
        Route("/_sandbox/faults", judge.set_faults, methods=["PUT"]),
        Route("/_sandbox/balance", judge.set_balance, methods=["PUT"]),
        Route("/_sandbox/advance", judge.advance, methods=["POST"]),
    ]


async def _render_http_exception(request: Request, wrong: Exception) -> Response:
    assert isinstance(wrong, HTTPException)
    message = f"Cannot {request.method} {request.url.path}" if wrong.status_code in (404, 405) else str(wrong.detail)
    return await render_refused(request, Refused(404 if wrong.status_code == 405 else wrong.status_code, message))


class TracingHeaders:
    """Adds `x-inference-id` to every answer of the API, and echoes a well-formed `X-Client-Request-Id`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(("/results/", "/_sandbox/")):
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        state = scope.setdefault("state", {})

        async def send_traced(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                inference_id = state.get("inference_id")
                if inference_id != "":
                    headers["x-inference-id"] = inference_id or new_inference_id()
                if echoed := client_request_id(request):
                    headers["x-client-request-id"] = echoed
            await send(message)

        await self.app(scope, receive, send_traced)
