"""The outermost layer: a request id on every answer, security and CORS headers, one access line, the last catch."""

import re
import time
from typing import Any
from urllib.parse import quote

import structlog
import uuid_utils
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import short_cut
from app.api.cors import AllowList, CrossOrigin
from app.api.errors import answer
from app.api.remembered_jobs import Shown
from app.domain.errors import InvalidRequest, ServerError

log = structlog.get_logger(__name__)
LONGEST_URL = 8192
UNREAD = frozenset({401, 403, 408, 413, 415, 429})
"""Refusals that come before the body was read to its end."""
_NOTHING = "default-src 'none'; frame-ancestors 'none'"
"""The policy of what is no page. A browser shows videos and images in pages of its own, which it would break."""
_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_QUIET_PATHS = frozenset({"/healthz", "/readyz"})


class FrontDoor:
    """ASGI middleware. Handles what the framework's own error handler would answer without our headers."""

    def __init__(self, app: ASGIApp, *, allowed: AllowList) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope)
        request_id = _request_id(given)
        scope.setdefault("state", {}).update(request_id=request_id, arrived=time.monotonic())
        answered = _Answer(send, request_id, scope["state"], self._allowed.judge(given))
        started_at = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._serve(scope, receive, answered)
            finally:
                _log_access(scope, answered.status, seconds=time.perf_counter() - started_at)

    async def _serve(self, scope: Scope, receive: Receive, answered: "_Answer") -> None:
        try:
            if ready := short_cut.take(scope):
                await answered.whole(ready)
                return
            # First: a page can read the refusal of a request only if it was let send it.
            if scope["method"] == "OPTIONS" and (permission := answered.cors.permission()):
                await permission(scope, receive, answered)
            elif len(scope["path"]) + len(scope.get("query_string", b"")) > LONGEST_URL:
                refusal = InvalidRequest(f"The URL is longer than {LONGEST_URL} characters.", code="url_too_long")
                await answer(refusal, scope=scope)(scope, receive, answered)
            else:
                await self._app(scope, receive, answered)
        except ClientDisconnect:
            log.info("client_left")
        except Exception:
            log.exception("request_failed")
            if answered.status is not None:
                raise  # too late for an answer: the server cuts the connection
            failure = ServerError("Something broke on our side. Quote the request id when you report it.")
            await answer(failure, scope=scope)(scope, receive, answered)


class _Answer:
    """A `send` that adds our headers and remembers the status."""

    def __init__(self, send: Send, request_id: str, state: dict[str, Any], cors: CrossOrigin) -> None:
        self._send = send
        self._request_id = request_id
        self._state = state
        self.cors = cors
        self.status: int | None = None

    async def whole(self, shown: Shown) -> None:
        """Send an answer that is there from its head to its end."""
        await self({"type": "http.response.start", "status": 200, "headers": list(shown.headers)})
        await self({"type": "http.response.body", "body": shown.body})

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._request_id
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "no-referrer"
            headers["X-Frame-Options"] = "DENY"
            if headers.get("content-type") == "application/json":
                headers.setdefault("Content-Security-Policy", _NOTHING)
            headers.update(self._state.get("rate_headers", {}))
            self.cors.mark(headers)
            if self.status in UNREAD:
                headers["Connection"] = "close"  # else we would have to swallow a body that nobody reads
        await self._send(message)


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _SANE_ID.fullmatch(given) else f"req_{uuid_utils.uuid4().hex}"


def _log_access(scope: Scope, status: int | None, *, seconds: float) -> None:
    # Never the query string: that of a signed URL opens it.
    write = log.debug if scope["path"] in _QUIET_PATHS else log.info
    path = quote(scope["path"][:200])  # a line break in it must not begin a line of the log
    milliseconds = round(seconds * 1000, 1)
    write("request_served", method=scope["method"], path=path, status=status, duration_ms=milliseconds)
