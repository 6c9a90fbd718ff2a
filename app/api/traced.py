"""The first span of a job's trace: the request that makes it, whichever face it came through."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, ParamSpec

import structlog
from fastapi import Request
from starlette.responses import Response

from app import tracing
from app.domain.errors import ReelayError

P = ParamSpec("P")
Create = Callable[Concatenate[Request, P], Awaitable[Response]]


def creation(create: Create[P]) -> Create[P]:
    """Trace the requests that `create` answers, refusals as well, each with its route and status."""

    @functools.wraps(create)
    async def within(request: Request, /, *args: P.args, **given: P.kwargs) -> Response:
        with tracing.serving("create job", traceparent=_traceparent(request)) as is_traced:
            if not is_traced:
                return await create(request, *args, **given)
            route: Any = request.scope.get("route")
            tracing.note(**{"http.request.method": request.method, "http.route": getattr(route, "path", None)})
            status, facts = 500, dict[str, str]()
            try:
                response = await create(request, *args, **given)
                status = response.status_code
                facts["outcome"] = "replayed" if "idempotent-replayed" in response.headers else "made"
                return response
            except ReelayError as refusal:
                status, facts = refusal.status, {"outcome": "refused", "error__code": refusal.code}
                raise
            finally:
                job_id = structlog.contextvars.get_contextvars().get("job_id")
                tracing.note(**{"http.response.status_code": status, "job__id": job_id}, **facts)

    return within


def _traceparent(request: Request) -> str | None:
    given = request.headers.getlist("traceparent")
    return given[0] if len(given) == 1 else None
