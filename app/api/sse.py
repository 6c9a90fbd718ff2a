"""Server-Sent Events: frames, and the response that sends them until somebody leaves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

MEDIA_TYPE = "text/event-stream"
RETRY_MILLISECONDS = 2_000
HEARTBEAT = b": still here\n\n"
PUSH = "reelay.push"
"""The extension of ASGI by which a chunk is written at once, past all that an answer otherwise runs through."""
Push = Callable[[bytes], bool]
"""Tells whether it was written. If not, the frame is to be sent as any other."""


def wanted(request: Request) -> bool:
    """Tell whether the caller asks for a live stream."""
    kinds = request.headers.get("accept", "").lower().split(",")
    return any(kind.partition(";")[0].strip() == MEDIA_TYPE for kind in kinds)


def push_of(request: Request) -> Push | None:
    """Return how frames are written at once to whoever asks; None where the server has no such way."""
    push: Push | None = request.scope.get("extensions", {}).get(PUSH, {}).get("write")
    return push


def chunk(sent: bytes) -> bytes:
    """Return what a frame is on the wire, in chunked transfer coding (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(sent), sent)


def frame(data: str, *, event: str, id_: int | None = None) -> bytes:
    """Return one event as it is sent. `data` is JSON on one line; without an id nobody resumes after it."""
    numbered = "" if id_ is None else f"id: {id_}\n"
    return f"{numbered}event: {event}\ndata: {data}\n\n".encode()


class EventStream(Response):
    """Sends frames as they come. A caller that leaves ends it; one that takes nothing is dropped by its connection."""

    def __init__(self, frames: AsyncIterator[bytes], *, after: int | None = None) -> None:
        """`after` numbers the place at which it begins: who is cut off before the first event goes on from there.

        It stands in the head as well: of a body that breaks off a browser may show nothing.
        """
        # Proxies that gather answers would hold every event back.
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}, media_type=MEDIA_TYPE)
        del self.headers["content-length"]
        if after is not None:
            self.headers["Last-Event-ID"] = str(after)
        numbered = "" if after is None else f"id: {after}\n"
        self._first = f"retry: {RETRY_MILLISECONDS}\n{numbered}\n".encode()
        self._frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sending = asyncio.ensure_future(self._send_all(send))
        leaving = asyncio.ensure_future(_departure(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            with suppress(asyncio.CancelledError):
                await sending

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.body", "body": self._first, "more_body": True})
        async for sent in self._frames:
            await send({"type": "http.response.body", "body": sent, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
