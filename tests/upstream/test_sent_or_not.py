"""Over real sockets: whether the paid request may have left, and that it never leaves twice."""

import asyncio
import contextlib
import fcntl
import socket
import sys
import termios
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from app.domain.errors import NotSent, Unconfirmed
from app.upstream.client import UpstreamClient

from .conftest import KEY, RawServer, failure, submit

Connect = Callable[..., UpstreamClient]


# Not sent


async def test_not_sent__connection_refused(connect: Connect) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound, but not listening
        client = connect(f"http://127.0.0.1:{held.getsockname()[1]}")
        error = await failure(submit(client))
    assert type(error) is NotSent
    assert error.http_status is None


async def test_not_sent__unknown_host(connect: Connect) -> None:
    assert type(await failure(submit(connect("http://nowhere.invalid")))) is NotSent


async def test_not_sent__slow_name_look_up(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*args: Any, **options: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
    assert type(await failure(submit(connect("http://slow.test", connect_timeout_seconds=0.1)))) is NotSent


@pytest.fixture
def full_backlog() -> Iterator[int]:
    """Yield a port whose queue of connections is full: the next one gets no answer at all."""
    with contextlib.ExitStack() as held:
        listening = held.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


async def test_not_sent__connect_timeout(connect: Connect, full_backlog: int) -> None:
    client = connect(f"http://127.0.0.1:{full_backlog}", connect_timeout_seconds=0.2)
    error = await failure(submit(client))
    assert type(error) is NotSent
    assert "Timeout" in error.message


async def test_not_sent__other_side_speaks_no_tls(connect: Connect, server: RawServer) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    server.script = plain
    assert type(await failure(submit(connect(f"https://127.0.0.1:{server.port}")))) is NotSent
    assert server.connections == 1


async def test_not_sent__reset_while_greeting_in_tls(connect: Connect, server: RawServer) -> None:
    async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        server.reset(writer)

    server.script = slam
    assert type(await failure(submit(connect(f"https://127.0.0.1:{server.port}")))) is NotSent


async def test_not_sent__hang_while_greeting_in_tls(connect: Connect, server: RawServer) -> None:
    client = connect(f"https://127.0.0.1:{server.port}", connect_timeout_seconds=0.2)
    assert type(await failure(submit(client))) is NotSent


# Behind a proxy, the tunnel is not the request


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 502 Bad Gateway\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nno tls", b""])
async def test_not_sent__tunnel_that_does_not_open(connect: Connect, server: RawServer, greeting: bytes) -> None:
    server.answers(greeting)
    tunnel = httpx2.AsyncHTTPTransport(proxy=server.url, trust_env=False)
    assert type(await failure(submit(connect("https://upstream.test", submit_transport=tunnel)))) is NotSent
    assert server.requests[0].startswith(b"CONNECT upstream.test:443 ")
    assert KEY.encode() not in server.requests[0]


async def test_unconfirmed__forwarding_proxy_has_the_request(connect: Connect, server: RawServer) -> None:
    server.answers(b"")
    forward = httpx2.AsyncHTTPTransport(proxy=server.url, trust_env=False)
    assert type(await failure(submit(connect("http://upstream.test", submit_transport=forward)))) is Unconfirmed


# Sent, and no answer


def waiting_bytes(writer: asyncio.StreamWriter) -> int:
    """Return how many bytes have come that nobody has read."""
    count = fcntl.ioctl(writer.get_extra_info("socket").fileno(), termios.FIONREAD, b"\0" * 4)
    return int.from_bytes(count, sys.byteorder)


async def test_unconfirmed__reset_before_the_request_is_read(connect: Connect, server: RawServer) -> None:
    async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()
        while not waiting_bytes(writer):
            await asyncio.sleep(0.01)
        server.reset(writer)

    server.script = slam
    assert type(await failure(submit(connect(server.url)))) is Unconfirmed
    assert server.connections == 1


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_unconfirmed__broken_while_the_request_is_read(connect: Connect, server: RawServer, how: str) -> None:
    async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1000)
        if how == "reset":
            server.reset(writer)

    server.script = slam
    image = "data:image/png;base64," + "A" * 4_000_000
    assert type(await failure(submit(connect(server.url), input={"image_url": image}))) is Unconfirmed
    assert server.connections == 1


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_unconfirmed__broken_after_the_request_is_read(connect: Connect, server: RawServer, how: str) -> None:
    async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_request(reader)
        if how == "reset":
            server.reset(writer)

    server.script = slam
    assert type(await failure(submit(connect(server.url)))) is Unconfirmed
    assert (server.connections, len(server.requests)) == (1, 1)


async def test_unconfirmed__hang(connect: Connect, server: RawServer) -> None:
    error = await failure(submit(connect(server.url, submit_timeout_seconds=0.2)))
    assert type(error) is Unconfirmed
    assert "Timeout" in error.message
    assert server.connections == 1


async def test_unconfirmed__request_that_nobody_takes_in(connect: Connect, server: RawServer) -> None:
    async def stop_reading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()
        await asyncio.Event().wait()

    server.script = stop_reading
    image = "data:image/png;base64," + "A" * 16_000_000
    client = connect(server.url, submit_timeout_seconds=0.2)
    assert type(await failure(submit(client, input={"image_url": image}))) is Unconfirmed


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01", b"HTTP/1.1 banana\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"]
)
async def test_unconfirmed__answer_that_is_no_http(connect: Connect, server: RawServer, garbage: bytes) -> None:
    server.answers(garbage + b"\r\n" + KEY.encode() + b"\r\n\r\n")
    assert type(await failure(submit(connect(server.url)))) is Unconfirmed


async def test_unconfirmed__key_in_a_broken_header_is_not_repeated(connect: Connect, server: RawServer) -> None:
    server.answers(f"HTTP/1.1 200 OK\r\nx echo {KEY}\r\n\r\n".encode())
    error = await failure(submit(connect(server.url)))
    assert type(error) is Unconfirmed
    assert "[key]" in error.message


async def test_unconfirmed__headers_that_drip(connect: Connect, server: RawServer) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
        while True:
            writer.write(b"z")
            await writer.drain()
            await asyncio.sleep(0.05)

    server.script = drip
    started = time.monotonic()
    assert type(await failure(submit(connect(server.url, submit_timeout_seconds=0.3)))) is Unconfirmed
    assert time.monotonic() - started < 5
