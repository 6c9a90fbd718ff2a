"""One kept HTTP/1.1 connection to the upstream: a request goes out, its answer is parsed as it comes in."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import cast

import httptools
import httpx2

LARGEST_HEAD = 64 * 1024


class Connection(asyncio.Protocol):
    """Carries one exchange at a time. What breaks it is raised to whoever waits for the answer."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.used_at = time.monotonic()
        self.reusable = True
        self._news: asyncio.Future[None] | None = None
        self._begin()
        self._busy = False

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._head_bytes = 0
        self._head_complete = self._complete = self.answer_began = False
        self._error: Exception | None = None
        self._busy = True

    async def ask(self, head: bytes) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Send a request that is nothing but its head; return its answer's status and headers once they are there."""
        self._begin()
        self.transport.write(head)
        while not self._head_complete:
            await self._more()
        return self._parser.get_status_code(), self._headers

    async def body(self) -> AsyncGenerator[bytes, None]:
        """Give the answer's body as it comes."""
        while True:
            if self._body:
                chunk, self._body = b"".join(self._body), []
                yield chunk
            elif self._complete:
                return
            else:
                await self._more()

    def release(self) -> bool:
        """End the exchange; True if the connection can carry another."""
        self._busy = False
        self.used_at = time.monotonic()
        if not (self._complete and self.reusable):
            self.close()
        return self.reusable

    def close(self) -> None:
        """Break it off, whatever is under way."""
        self.reusable = False
        self.transport.abort()

    async def _more(self) -> None:
        if self._error is not None:
            raise self._error
        self._news = asyncio.get_running_loop().create_future()
        await self._news

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _fail(self, error: Exception) -> None:
        self._error = error
        self.close()
        self._tell()

    # What the event loop says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not self._busy or self._complete:  # nobody asked for this: it must not be taken for the next answer
            self.close()
            return
        self.answer_began = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as fault:  # its text may quote the answer
            self._fail(httpx2.RemoteProtocolError(f"the answer is not HTTP ({type(fault).__name__})"))
            return
        if not self._head_complete:
            self._head_bytes += len(data)
            if self._head_bytes > LARGEST_HEAD:
                self._fail(httpx2.RemoteProtocolError(f"the answer's head is longer than {LARGEST_HEAD} bytes"))
                return
        self._tell()

    def connection_lost(self, exc: Exception | None) -> None:
        self.reusable = False
        if not self._busy or self._complete:
            return
        names = {name.lower() for name, _ in self._headers}
        if exc is None and self._head_complete and not names & {b"content-length", b"transfer-encoding"}:
            self._complete = True  # such an answer ends with its connection
        else:
            self._error = self._error or httpx2.RemoteProtocolError("the upstream closed the connection in mid-answer")
        self._tell()

    # What the parser says

    def on_message_begin(self) -> None:
        if self._complete:
            raise ValueError("a second answer to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._parser.get_status_code() >= 200:
            self._head_complete = True

    def on_body(self, chunk: bytes) -> None:
        self._body.append(chunk)

    def on_message_complete(self) -> None:
        if self._head_complete:
            self._complete = True
            self.reusable = self.reusable and self._parser.should_keep_alive()
        else:  # 103 and its like come before the answer
            self._headers = []
