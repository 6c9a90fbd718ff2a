"""A server on this machine that answers each connection with the bytes it was given, and counts them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.tcp import accepting

Answer = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


class Listener:
    """Answers the requests in turn, the last answer again and again. Host names in tests all resolve to it."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [respond()]
        self.requests: list[bytes] = []
        self.connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def url(self, path: str = "/video.mp4", *, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def trusted(self, host: str = "127.0.0.1") -> str:
        return f"{host}:{self.port}"


def respond(body: bytes = b"", *, status: str = "200 OK", length: int | None = None, **headers: str) -> bytes:
    """Return a response; `length` is claimed instead of the true one, -1 for no Content-Length at all."""
    lines = [f"HTTP/1.1 {status}", "Connection: close"]
    if length != -1:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def redirect(location: str, *, status: str = "302 Found") -> bytes:
    return respond(status=status, Location=location)


@contextlib.asynccontextmanager
async def listening(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Listener]:
    listener = Listener()
    async with accepting(listener.serve, host=host, port=port) as listener.port:
        yield listener


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    async with listening() as running:
        yield running


@pytest.fixture
async def internal() -> AsyncIterator[Listener]:
    """Another one, that nobody may reach."""
    async with listening() as running:
        yield running
        assert running.connections == 0
