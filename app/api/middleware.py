"""The outermost layer: a request id on every answer, security and CORS headers, one access line, the last catch."""

import re
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import structlog
import uuid_utils
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import metrics
from app.api import short_cut
from app.api.cors import AllowList, CrossOrigin
from app.api.errors import answer
from app.api.remembered_jobs import Shown
from app.domain.errors import InvalidRequest, ServerError
from app.telemetry import lean_lines

log = structlog.get_logger(__name__)
LONGEST_URL = 8192
UNREAD = frozenset({401, 403, 408, 413, 415, 429})
"""Refusals that come before the body was read to its end."""
_NOTHING = "default-src 'none'; frame-ancestors 'none'"
"""The policy of what is no page. A browser shows videos and images in pages of its own, which it would break."""
RawHeader = tuple[bytes, bytes]
_FIXED: list[RawHeader] = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
]
_OURS = frozenset({b"x-request-id", *(name for name, _ in _FIXED)})
_POLICY: RawHeader = (b"content-security-policy", _NOTHING.encode())
_JSON: RawHeader = (b"content-type", b"application/json")
_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_QUIET_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})


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
        started_at = time.perf_counter()
        answered = _Answer(send, request_id, scope["state"], self._allowed.judge(given))
        shown = _remembered(scope)
        try:
            if shown is not None:
                await answered.whole(shown)
            else:
                with structlog.contextvars.bound_contextvars(request_id=request_id):
                    await self._serve(scope, receive, answered)
        finally:
            ended_at = time.perf_counter()
            route = short_cut.ROUTE if shown is not None else getattr(scope.get("route"), "path", None)
            waited = b"wait=" in scope.get("query_string", b"") or "prefer" in given
            answer_seconds = None if waited or not answered.began_at else answered.began_at - started_at
            metrics.served(scope["method"], route, answered.status, seconds=answer_seconds)
            _log_access(scope, route, answered.status, request_id=request_id, seconds=ended_at - started_at)
            structlog.contextvars.unbind_contextvars("job_id", "trace_id")  # of a job that was made

    async def _serve(self, scope: Scope, receive: Receive, answered: "_Answer") -> None:
        try:
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
        self.began_at = 0.0

    async def whole(self, shown: Shown) -> None:
        """Send an answer that is there from its head to its end."""
        await self({"type": "http.response.start", "status": 200, "headers": list(shown.headers)})
        await self({"type": "http.response.body", "body": shown.body})

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.began_at = message["status"], time.perf_counter()
            message["headers"] = self._marked(message["headers"])
        await self._send(message)

    def _marked(self, given: Iterable[RawHeader]) -> list[RawHeader]:
        """Return the headers with ours. Written out as bytes: every answer passes here."""
        raw = [header for header in given if header[0] not in _OURS]
        raw.append((b"x-request-id", self._request_id.encode()))
        raw.extend(_FIXED)
        if _JSON in raw and all(name != _POLICY[0] for name, _ in raw):
            raw.append(_POLICY)
        headers = MutableHeaders(raw=raw)
        if rates := self._state.get("rate_headers"):
            headers.update(rates)
        if self.cors.speaks:
            self.cors.mark(headers)
        if self.status in UNREAD:
            headers["Connection"] = "close"  # else we would have to swallow a body that nobody reads
        return headers.raw


def _remembered(scope: Scope) -> Shown | None:
    """Return the answer if it is known already. Whatever goes wrong there, the long way is open."""
    try:
        return short_cut.take(scope)
    except Exception:
        log.exception("short_cut_failed")
        return None


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _SANE_ID.fullmatch(given) else f"req_{uuid_utils.uuid4().hex}"


def _log_access(scope: Scope, route: str | None, status: int | None, *, request_id: str, seconds: float) -> None:
    # Never the query string: that of a signed URL opens it.
    path = quote(scope["path"][:200])  # a line break in it must not begin a line of the log
    facts = {"route": route, "status": status, "duration_ms": round(seconds * 1000, 1)}
    said = {"request_id": request_id, "method": scope["method"], "path": path} | _job_named(scope)
    if scope["path"] in _QUIET_PATHS:
        log.debug("request_served", **said, **facts)
    elif lean := lean_lines():
        lean.write("request_served", said=said, facts=facts)
    else:
        log.info("request_served", **said, **facts)


def _job_named(scope: Scope) -> dict[str, str]:
    """Return the job that was made or that the path names, and its trace: so one word finds all lines of a job."""
    bound = structlog.contextvars.get_contextvars()
    named = bound.get("job_id") or scope.get("path_params", {}).get("job_id")
    traced = {"trace_id": bound["trace_id"]} if "trace_id" in bound else {}
    return traced if named is None else traced | {"job_id": quote(named[:100])}
