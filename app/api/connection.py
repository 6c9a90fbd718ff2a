"""One HTTP connection: bounds on its head, in size and time, before anything else is decided; and on its silence.

To the application it offers, as extensions of ASGI, a way to write at once what many connections are sent, and one to
send files without reading them.
"""

import asyncio
import json
import os
import sys
import uuid
from contextlib import suppress
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.api.sending import SEND_FILE
from app.api.sse import PUSH

LARGEST_HEAD = 64 * 1024
MOST_HEADERS = 100
HEAD_SECONDS = 30.0
REQUEST_SECONDS = 330.0
"""How long a whole request may take to arrive, whether or not somebody reads its body: `wire.BODY_SECONDS`, which is
answered, ends first."""
MOST_WAITING = 16
"""Requests sent on one connection before the first was answered."""
UNREAD_SECONDS = 60.0
"""How long a client may take nothing of what waits for it."""


class HeadTooLarge(Exception):
    """The request's head passes a bound."""


class TooManyWaiting(Exception):
    """The client sends requests faster than it can be answered."""


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's connection, which by itself takes heads of any size for any time."""

    _head_bytes = 0
    _head_count = 0
    _too_large = False
    _deadline: asyncio.TimerHandle | None = None
    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        # A body may come in the same piece: only a head, or a trailer, that is still open after the bound is refused.
        if self._head_bytes - len(data) > LARGEST_HEAD:
            self._too_large = True
            self.send_400_response("")
            return
        super().data_received(data)

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MOST_WAITING:
            raise TooManyWaiting
        self._await_head()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_count += 1
        if self._head_count > MOST_HEADERS or len(name) + len(value) > LARGEST_HEAD:
            self._too_large = True
            raise HeadTooLarge
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._wait(REQUEST_SECONDS)
        super().on_headers_complete()
        # uvicorn's own 500 is left for requests that it cuts off at the end of a stop: a job may be committed by then,
        # and no answer is all that can be said.
        if self.cycle is not None:
            self.cycle.send_500_response = self._hang_up  # type: ignore[method-assign]
            self.scope["extensions"] = {PUSH: {"write": partial(_push, self.cycle)}}
            if sys.platform == "linux":
                self.scope["extensions"][SEND_FILE] = {"send": partial(self._send_file, self.cycle)}

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._stop_waiting()
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_unread()

    def resume_writing(self) -> None:
        self._stop_watching()
        super().resume_writing()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_unread()

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    async def _send_file(self, answer: RequestResponseCycle, file: int, start: int, end: int) -> None:
        """Let the kernel send a part of a file, after what was written before. Returns early if the client leaves."""
        if answer.disconnected or self.transport.is_closing():
            return
        answer.expected_content_length -= end - start
        # Our own descriptor: the loop lets nobody wait for one of its connections, and may close it at any time.
        line = os.dup(self.transport.get_extra_info("socket").fileno())
        try:
            self.transport.set_write_buffer_limits(0)  # so that "drained" means "empty"
            await self.flow.drain()
            while start < end and not answer.disconnected:
                with suppress(BlockingIOError):
                    sent = await _send_some(line, file, start, end - start)
                    if sent == 0:
                        raise EOFError("the file has become shorter while it was sent")
                    start += sent
                if start < end and not answer.disconnected:
                    await self._room(line)
        except ConnectionError:
            answer.disconnected = True
            self.transport.abort()
        finally:
            os.close(line)
            if not self.transport.is_closing():
                self.transport.set_write_buffer_limits()

    async def _room(self, line: int) -> None:
        """Wait until the client takes more, or has left: as if the transport had paused us, its silence is watched."""
        self.pause_writing()
        self.loop.add_writer(line, self.resume_writing)
        try:
            await self.flow.drain()
        finally:
            self.loop.remove_writer(line)
            self.resume_writing()

    async def _hang_up(self) -> None:
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Refuse, in our envelope, what never became a request; close where an answer is on its way already."""
        if self.cycle is not None and self.cycle.response_started:
            self._close()
            return
        status, reason, code, message = b"400", b"Bad Request", "invalid_http", "This is no valid HTTP request."
        if self._too_large:
            status, reason, code = b"431", b"Request Header Fields Too Large", "head_too_large"
            message = f"Send at most {MOST_HEADERS} headers and {LARGEST_HEAD} bytes of them."
        request_id = f"req_{uuid.uuid4().hex}"
        error = {"type": "invalid_request_error", "code": code, "message": message, "param": None}
        body = json.dumps({"error": error | {"request_id": request_id}}).encode()
        head = b"HTTP/1.1 %s %s\r\ncontent-type: application/json\r\nx-request-id: %s\r\nconnection: close\r\n"
        head += b"x-content-type-options: nosniff\r\nreferrer-policy: no-referrer\r\n"
        self.transport.write(head % (status, reason, request_id.encode()))
        self.transport.write(b"content-length: %d\r\n\r\n" % len(body) + body)
        self._close()

    def _await_head(self) -> None:
        self._head_bytes, self._head_count = 0, 0
        self._wait(HEAD_SECONDS)

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(seconds, self._close)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
            self._watch_unread()

    def _watch_unread(self) -> None:
        """Cut the connection off once so long nothing was taken of what waits to be sent.

        Meanwhile nothing more is written. Closing alone would wait for ever.
        """
        self._stop_watching()
        waiting = self.transport.get_write_buffer_size()
        self._watch = self.loop.call_later(UNREAD_SECONDS, self._look_again, waiting)

    def _look_again(self, before: int) -> None:
        if self.transport.get_write_buffer_size() < before:
            self._watch_unread()
        else:
            self.transport.abort()

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None


async def _send_some(line: int, file: int, start: int, count: int) -> int:
    """Send what the kernel takes now, in a thread: it may wait for the disk. Who is canceled waits for its end."""
    sending = asyncio.ensure_future(asyncio.to_thread(os.sendfile, line, file, start, count))
    try:
        return await asyncio.shield(sending)
    except asyncio.CancelledError:
        with suppress(OSError):
            await sending
        raise


def _push(answer: RequestResponseCycle, chunk: bytes) -> bool:
    """Write a chunk of a streamed answer that is under way; False where nothing may be written now."""
    if answer.flow.write_paused or answer.disconnected or answer.response_complete or not answer.chunked_encoding:
        return False
    answer.transport.write(chunk)
    return True
