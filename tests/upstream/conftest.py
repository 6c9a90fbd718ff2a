"""A stand-in for the far side of a socket, and the watch that the key never shows."""

import asyncio
import logging
import socket
import struct
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx2
import pytest
import structlog
from pydantic import SecretStr

from app.domain.errors import UpstreamFailure
from app.upstream.client import UpstreamClient
from tests.canary import UPSTREAM_KEY

KEY = UPSTREAM_KEY
PATH = "/v2/video/generations"

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Handler = Callable[[httpx2.Request], httpx2.Response]


class RawServer:
    """A TCP server on this machine that treats each connection as its script says."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self.script: Script = self.hang
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def answers(self, content: bytes) -> None:
        """Read the request, write `content`, close."""

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self.read_request(reader)
            writer.write(content)
            await writer.drain()

        self.script = script

    async def hang(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.read_request(reader)
        await asyncio.Event().wait()

    async def read_request(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        self.requests.append(head + await reader.readexactly(length))

    @staticmethod
    def reset(writer: asyncio.StreamWriter) -> None:
        """Break the connection with RST instead of closing it."""
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self.script(reader, writer)
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    server = RawServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., UpstreamClient]]:
    """Make clients that are closed after the test."""
    clients: list[UpstreamClient] = []

    def make(url: str = "http://upstream.test", **options: Any) -> UpstreamClient:
        clients.append(UpstreamClient(url, api_key=SecretStr(KEY), **options))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture
def pretend(connect: Callable[..., UpstreamClient]) -> Callable[[Handler], UpstreamClient]:
    """Make a client whose requests are answered by a function."""

    def make(handler: Handler) -> UpstreamClient:
        transport = httpx2.MockTransport(handler)
        return connect(transport=transport, submit_transport=transport)

    return make


@pytest.fixture(autouse=True)
def logs(caplog: pytest.LogCaptureFixture) -> Iterator[list[Any]]:
    """Collect what is logged, and see after every test that the key is in none of it."""
    caplog.set_level(logging.INFO)
    with structlog.testing.capture_logs() as entries:
        yield entries
    assert KEY not in repr(entries)
    assert KEY not in caplog.text


async def failure(call: Awaitable[Any]) -> UpstreamFailure:
    """Return how `call` fails, having seen that the failure does not show the key."""
    with pytest.raises(UpstreamFailure) as caught:
        await call
    error = caught.value
    related = [error, error.__cause__, error.__context__]
    assert KEY not in repr([(one, vars(one)) for one in related if one is not None])
    assert KEY not in "".join(traceback.format_exception(error))
    assert len(error.message) <= 500
    return error


def submit(client: UpstreamClient, **given: Any) -> Awaitable[Any]:
    arguments = {"path": PATH, "model": "veo2/image-to-video", "input": {"prompt": "waves"}, "request_id": "rly:d:j:1"}
    return client.submit(**(arguments | given))


def answer(body: bytes, *, status: int = 200, headers: str = "", length: int | None = None) -> bytes:
    """Write an HTTP answer."""
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status} Said\r\nContent-Length: {size}\r\n{headers}\r\n".encode() + body


def always(status: int, **content: Any) -> Handler:
    """Answer every request the same."""
    return lambda request: httpx2.Response(status, **content)
