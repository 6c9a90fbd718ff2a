"""Over real sockets: who sends or takes nothing is dropped, and holds up nobody meanwhile."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from uvicorn import Config

from app.api import connection, wire
from app.api.callers import Caller
from app.api.connection import BoundedConnection
from app.api.deps import House
from app.db.engine import Database
from app.domain.states import JobState
from app.main import SERVING, Server
from tests.factories import make_job, video_of

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
MANY = 40
"""More than a database has connections, or SQLite threads that read."""
NEVER = 3600.0


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[tuple[Server, tuple[str, int]]]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(Config(app, lifespan="off", **SERVING | {"timeout_graceful_shutdown": 0}), ready=lambda: None)
    running = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(30):
            yield server, listener.getsockname()
    finally:
        server.should_exit = True
        await running


@asynccontextmanager
async def connected(address: tuple[str, int], count: int = 1) -> AsyncIterator[list[Streams]]:
    opened: list[Streams] = []
    for _ in range(count):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, address)
        opened.append(await asyncio.open_connection(sock=client, limit=2**12))
    try:
        yield opened
    finally:
        for _, writer in opened:
            writer.transport.abort()


def head(method: str, path: str, secret: str, *more: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {secret}", *more]
    return "\r\n".join([*lines, "", ""]).encode()


def form(secret: str) -> bytes:
    return head("POST", "/v1/jobs", secret, "Content-Type: application/json", "Content-Length: 1000")


async def ask(address: tuple[str, int], secret: str) -> bytes:
    async with connected(address) as [(reader, writer)]:
        writer.write(head("GET", "/v1/jobs", secret, "Connection: close"))
        return (await reader.read()).partition(b"\r\n")[0]


@pytest.mark.parametrize(
    ("begun", "silence", "whole"),
    [(b"", 0.05, NEVER), (b"{", 0.05, NEVER), (b"{", NEVER, 0.0)],
    ids=["never comes", "falls silent", "drips"],
)
async def test_body__that_does_not_come_is_given_up(
    *,
    app: FastAPI,
    caller: tuple[Caller, str],
    monkeypatch: pytest.MonkeyPatch,
    begun: bytes,
    silence: float,
    whole: float,
) -> None:
    monkeypatch.setattr(wire, "SILENCE_SECONDS", silence)
    monkeypatch.setattr(wire, "BODY_SECONDS", whole)
    async with serving(app) as (_, address), connected(address) as [(reader, writer)]:
        writer.write(form(caller[1]) + begun)
        answer, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(body)["error"]["type"] == "invalid_request_error"


async def test_body__many_that_do_not_come_hold_up_nobody(app: FastAPI, caller: tuple[Caller, str]) -> None:
    async with serving(app) as (server, address), connected(address, MANY) as clients:
        for _, writer in clients:
            writer.write(form(caller[1]) + b"{")
        while len(server.server_state.tasks) < MANY:
            await asyncio.sleep(0)
        assert await ask(address, caller[1]) == b"HTTP/1.1 200 OK"
        assert len(server.server_state.tasks) == MANY


async def test_body__that_nobody_reads_must_come_too(
    app: FastAPI, caller: tuple[Caller, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is answered at once, and what comes afterwards would keep the connection open for ever."""
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 0.3)
    async with serving(app) as (_, address), connected(address) as [(reader, writer)]:
        writer.write(head("POST", "/v1/jobs/job_x/cancel", caller[1], "Content-Length: 1000"))
        answer = await reader.readuntil(b"}}")
        writer.write(b"x")
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert await reader.read() == b""


@pytest.fixture
async def film(caller: tuple[Caller, str], database: Database, house: House) -> bytes:
    """What a client sends to get more than any buffer between takes."""
    job = make_job(database, caller[0], state=JobState.SUCCEEDED)
    await house.store.put_bytes(video_of(job)["key"], bytes(16 << 20), content_type="video/mp4")
    return head("GET", f"/v1/jobs/{job.id}/content", caller[1])


async def stuck(server: Server, count: int) -> None:
    """Wait until the server can send so many clients nothing more."""
    while sum(one.flow.write_paused for one in server.server_state.connections) < count:
        await asyncio.sleep(0)


async def test_answer__many_that_nobody_takes_hold_up_nobody(
    app: FastAPI, caller: tuple[Caller, str], film: bytes
) -> None:
    async with serving(app) as (server, address), connected(address, MANY) as clients:
        for _, writer in clients:
            writer.transport.pause_reading()
            writer.write(film)
        await stuck(server, MANY)
        assert await ask(address, caller[1]) == b"HTTP/1.1 200 OK"


async def test_answer__that_nobody_takes_is_cut_off(app: FastAPI, film: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "UNREAD_SECONDS", 0.3)
    async with serving(app) as (server, address), connected(address) as [(_, writer)]:
        writer.transport.pause_reading()
        writer.write(film)
        await stuck(server, 1)
        while server.server_state.connections or server.server_state.tasks:
            await asyncio.sleep(0)


async def test_answer__that_nobody_takes_is_cut_off_when_it_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is done with it and closes; what is left in the buffer would keep it open."""
    monkeypatch.setattr(connection, "UNREAD_SECONDS", 0.3)

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": bytes(16 << 20)})

    async with serving(app) as (server, address), connected(address) as [(_, writer)]:
        writer.transport.pause_reading()
        writer.write(head("GET", "/", "x"))
        while not server.server_state.total_requests:
            await asyncio.sleep(0)
        while server.server_state.connections:
            await asyncio.sleep(0)


class Sink:
    """A transport whose other end has left so many bytes untaken at each look."""

    def __init__(self, *sizes: int) -> None:
        self._sizes = list(sizes)
        self.aborted = asyncio.Event()

    def get_write_buffer_size(self) -> int:
        return self._sizes.pop(0)

    def abort(self) -> None:
        self.aborted.set()

    def get_extra_info(self, _name: str, default: Any = None) -> Any:
        return default


async def test_answer__that_is_taken_slowly_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "UNREAD_SECONDS", 0.0)
    config = Config(FastAPI(), lifespan="off", log_config=None)
    sink = Sink(100, 90, 90, 80, 80, 80)
    one = BoundedConnection(config, Server(config, ready=lambda: None).server_state, {})
    one.connection_made(sink)
    one.pause_writing()
    async with asyncio.timeout(5):
        await sink.aborted.wait()
    assert sink._sizes == []
    one.connection_lost(ConnectionResetError())
