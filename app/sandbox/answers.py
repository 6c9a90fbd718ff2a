"""How the sandbox says no: the documented error envelope, a gateway's bare page, a cut answer, a dead connection."""

import asyncio
import secrets
import socket
import struct
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send

TRANSPORT = "sandbox.transport"
"""The key in an ASGI scope's `extensions` under which our server lays the connection's transport."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, zero seconds


class Refused(Exception):
    """The service's own no, answered with the documented envelope."""

    def __init__(self, status: int, message: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


class GatewayFailed(Exception):
    """A gateway in front of the service spoke: no envelope."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Dropped(Exception):
    """The connection is to be reset, or is gone already."""


class NoConnection(RuntimeError):
    """A fault needs a real TCP connection, and this app is called without one (no `sandbox.server` around it)."""


def envelope(request: Request, status: int, message: str) -> dict[str, Any]:
    """Return the documented error body. `statusCode` is a string on server errors: the documentation shows both."""
    return {
        "message": message,
        "path": request.url.path,
        "requestId": secrets.token_hex(8),
        "statusCode": str(status) if status >= 500 else status,
        "timestamp": timestamp(datetime.now(UTC).timestamp()),
    }


def timestamp(seconds: float) -> str:
    """Return an instant as the upstream writes it: UTC, milliseconds, Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def render_refused(request: Request, refused: Exception) -> Response:
    assert isinstance(refused, Refused)
    body = envelope(request, refused.status, refused.message)
    return JSONResponse(body, status_code=refused.status, headers=refused.headers)


async def render_gateway_failed(_: Request, failed: Exception) -> Response:
    assert isinstance(failed, GatewayFailed)
    phrase = f"{failed.status} {HTTPStatus(failed.status).phrase}"
    page = f"<html><head><title>{phrase}</title></head>\r\n<body><center><h1>{phrase}</h1></center></body></html>\r\n"
    return HTMLResponse(page, status_code=failed.status)


async def render_dropped(_: Request, dropped: Exception) -> Response:
    assert isinstance(dropped, Dropped | ClientDisconnect)
    return ResetConnection()


class ResetConnection(Response):
    """Sends nothing and resets the TCP connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport = _transport(scope)
        connection = transport.get_extra_info("socket")
        if connection is not None and not transport.is_closing():
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
        await _disconnected(receive)


class CutResponse(Response):
    """Announces its whole length, sends the first `keep` bytes and closes the connection."""

    def __init__(self, whole: Response, *, keep: int) -> None:
        super().__init__(status_code=whole.status_code)
        self.raw_headers = whole.raw_headers
        self.body = bytes(whole.body)[:keep]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport = _transport(scope)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        transport.close()
        await _disconnected(receive)


async def hang(request: Request, seconds: float) -> None:
    """Say nothing for that long; raise Dropped as soon as nobody waits any more."""
    try:
        async with asyncio.timeout(seconds):
            await _disconnected(request.receive)
    except TimeoutError:
        return
    raise Dropped


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _transport(scope: Scope) -> asyncio.Transport:
    extension = scope.get("extensions", {}).get(TRANSPORT)
    if extension is None:
        raise NoConnection("this fault needs a real connection: run the sandbox with sandbox.server")
    transport: asyncio.Transport = extension["transport"]
    return transport
