"""One envelope for every refusal and failure: `{"error": {"type", "code", "message", "param", "request_id"}}`.

Programs for the AI/ML API get theirs.
"""

from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.routing import Match
from starlette.types import Scope

from app.api import aimlapi_shapes
from app.domain.errors import (
    InsufficientQuota,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    ReelayError,
    ServerError,
    StorageFailed,
    Unavailable,
)

log = structlog.get_logger(__name__)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def answer(error: ReelayError, *, scope: Scope) -> JSONResponse:
    """Render the error for the request of `scope`."""
    headers = dict(error.headers)
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if not _may_mend(error):
        headers["x-should-retry"] = "false"
    request_id = scope.get("state", {}).get("request_id")
    if scope["path"].startswith(aimlapi_shapes.PREFIXES):
        body = aimlapi_shapes.envelope(error, path=scope["path"], request_id=request_id)
        return JSONResponse(body, status_code=error.status, headers=headers)
    fault = {
        "type": error.type,
        "code": error.code,
        "message": error.message,
        "param": error.param,
        "request_id": request_id,
    }
    return JSONResponse({"error": fault}, status_code=error.status, headers=headers)


def _may_mend(error: ReelayError) -> bool:
    """Tell whether the same request may succeed later."""
    waits = error.status == 409 and error.retry_after is not None
    spent = error.type == InsufficientQuota.type
    return error.status >= 500 or (error.status in (408, 429) and not spent) or waits


def install(app: FastAPI) -> None:
    """Let `app` answer every exception with the envelope. What nobody expected is the middleware's."""

    @app.exception_handler(ReelayError)
    async def _refused(request: Request, error: ReelayError) -> Response:
        return answer(error, scope=request.scope)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        return answer(_described(error), scope=request.scope)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        return answer(_translated(request, error), scope=request.scope)

    @app.exception_handler(StorageFailed)
    async def _storage(request: Request, error: StorageFailed) -> Response:
        log.error("storage_failed", reason=str(error))
        refusal = Unavailable(
            "The storage is away or full. Try again shortly.", code="storage_unavailable", retry_after=5
        )
        return answer(refusal, scope=request.scope)

    @app.exception_handler(ClientDisconnect)
    async def _gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=400)  # nobody reads it


def _described(error: RequestValidationError) -> ReelayError:
    """Describe the first fault in a path or query parameter."""
    fault = error.errors()[0]
    param = ".".join(str(part) for part in fault["loc"][1:])
    return InvalidRequest(sentence(param, fault["msg"]), param=param)


def sentence(param: str, fault: str) -> str:
    """Return pydantic's words about a field as a sentence."""
    words = fault.removeprefix("Value error, ").removeprefix("Input ")
    return f"{param!r} {words}." if words != fault else f"{param!r}: {words[:1].lower()}{words[1:]}."


def _translated(request: Request, error: HTTPException) -> ReelayError:
    if error.status_code == 404:
        return NotFound(f"There is nothing at {request.url.path[:80]!r}. /openapi.json lists what there is.")
    if error.status_code == 405:
        allowed = _allowed_methods(request)
        return MethodNotAllowed(
            f"{request.method[:20]} is not allowed here; use {' or '.join(allowed)}.",
            headers={"Allow": ", ".join(allowed)},
        )
    if error.status_code < 500:
        refusal: ReelayError = InvalidRequest(str(error.detail), headers=dict(error.headers or {}))
    else:
        refusal = ServerError(str(error.detail), headers=dict(error.headers or {}))
    refusal.status = error.status_code
    return refusal


def _allowed_methods(request: Request) -> list[str]:
    """Return every method that some route takes at this path: Starlette names only those of the first it finds."""
    routes: list[Any] = request.app.router.routes
    scope = dict(request.scope)
    return [
        method
        for method in METHODS
        if any(route.matches(scope | {"method": method})[0] is Match.FULL for route in routes)
    ]
