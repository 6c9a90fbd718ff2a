"""One HTTP exchange that never raises: what left, what came back, and what went wrong on the way."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import httpx2

from app.domain import retry_after

ANSWER_CAP = 1024 * 1024
"""Bytes of an answer that we are willing to hold."""

_SENDING = "send_request_headers.started"

Trace = Callable[[str, Mapping[str, Any]], Awaitable[None]]


class Answer(Protocol):
    """An answer whose head is there: `httpx2.Response` is one."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> httpx2.Headers: ...
    def aiter_bytes(self) -> AsyncGenerator[bytes, None]: ...
    async def aclose(self) -> None: ...


Send = Callable[[Trace], Awaitable[Answer]]
"""Sends a request, tells the trace how far it got, and returns the answer."""


@dataclass(slots=True)
class Exchange:
    """The record of one request. `status` is None when no answer began; `body` is as much as arrived of it."""

    status: int | None = None
    headers: httpx2.Headers = field(default_factory=httpx2.Headers, repr=False)
    body: bytearray = field(default_factory=bytearray, repr=False)
    trouble: str = ""
    _reported: bool = False
    _sending: bool = False

    @property
    def may_have_left(self) -> bool:
        """Whether the upstream may have seen the request.

        The transport's trace events are the evidence. A transport that reported nothing at all, not even an attempt
        to connect, is no evidence that nothing left.
        """
        return self._sending or self.status is not None or not self._reported

    def document(self) -> Any:
        """Return the body as JSON; None where it is not JSON, as when it is cut off."""
        try:
            return json.loads(bytes(self.body))
        except (ValueError, RecursionError):
            return None

    def retry_after_seconds(self) -> float | None:
        """Return what `Retry-After` asks for, in seconds."""
        return retry_after.seconds_of(self.headers.get("retry-after", ""), now=datetime.now(UTC))

    def note(self, event: str, info: Mapping[str, Any]) -> None:
        """Take down a trace event of the transport."""
        self._reported = True
        if event.endswith(_SENDING) and not _is_tunnel(info):
            self._sending = True


async def exchange(
    send: Send,
    *,
    seconds: float,
    connection_seconds: float | None = None,
    cap: int = ANSWER_CAP,
) -> Exchange:
    """Send a request and read its answer, at most `cap` bytes of it; record every failure instead of raising it.

    All of it must be over in `seconds`, however slowly bytes drip in, and the connection stand in `connection_seconds`.
    Only cancellation passes through.
    """
    seen = Exchange()
    end = asyncio.get_running_loop().time() + seconds
    try:
        async with asyncio.timeout(min(seconds, connection_seconds or seconds)) as deadline:

            async def trace(event: str, info: Mapping[str, Any]) -> None:
                seen.note(event, info)
                if event.endswith(_SENDING) and not deadline.expired():
                    deadline.reschedule(end)

            await _converse(await send(trace), seen=seen, cap=cap)
    except Exception as error:  # noqa: BLE001 - whatever it was, the caller needs to know what had left before it
        # Kept as text: the exception itself holds the request, and may quote headers of the answer.
        seen.trouble = f"{type(error).__name__}: {error}".removesuffix(": ")
    return seen


async def _converse(response: Answer, *, seen: Exchange, cap: int) -> None:
    seen.status, seen.headers = response.status_code, response.headers
    try:
        async with aclosing(response.aiter_bytes()) as chunks:
            async for chunk in chunks:
                seen.body += chunk[: cap - len(seen.body) + 1]
                if len(seen.body) > cap:
                    del seen.body[cap:]
                    seen.trouble = f"the answer is longer than {cap} bytes"
                    return
    finally:
        await response.aclose()


def _is_tunnel(info: Mapping[str, Any]) -> bool:
    """Tell whether the event is about opening a tunnel through a proxy, which is not our request yet."""
    return getattr(info.get("request"), "method", None) == b"CONNECT"
