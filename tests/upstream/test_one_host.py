"""The connections of the free reads: kept, never trusted with more than they said, and only ever to a known host."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx2
import pytest

from app.domain.errors import FetchFailed
from app.upstream import one_host
from app.upstream.client import UpstreamClient
from app.upstream.one_host import OneHost

from .conftest import KEY, PATH, RawServer, answer, failure

Connect = Callable[..., UpstreamClient]
QUEUED = b'{"status":"queued"}'


async def fetch(client: UpstreamClient) -> str:
    return (await client.fetch(path=PATH, generation_id="g1")).status


def keep_open(server: RawServer, *contents: bytes) -> None:
    """Answer the requests of all connections by these in turn, the last again and again; keep the connections open."""
    left = list(contents)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            await server.read_request(reader)
            writer.write(left.pop(0) if len(left) > 1 else left[0])
            await writer.drain()

    server.script = script


async def test_get__sends_what_a_read_needs_and_no_more(connect: Connect, server: RawServer) -> None:
    server.answers(answer(QUEUED))
    assert await fetch(connect(server.url + "/prefix")) == "pending"
    [request] = server.requests
    assert request.decode() == (
        f"GET /prefix{PATH}?generation_id=g1 HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        "Accept-Encoding: identity\r\nUser-Agent: reelay\r\nAccept: application/json\r\n"
        f"Authorization: Bearer {KEY}\r\n\r\n"
    )


@pytest.mark.parametrize(
    "content",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"sta\r\nd\r\ntus\":\"queue\"}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + QUEUED,
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer(QUEUED),
    ],
    ids=["chunked", "ended by closing", "after a hint"],
)  # fmt: skip
async def test_get__reads_every_form_of_answer(connect: Connect, server: RawServer, content: bytes) -> None:
    server.answers(content)
    assert await fetch(connect(server.url)) == "pending"


@pytest.mark.parametrize(
    "content",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + QUEUED,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
        answer(QUEUED, headers="Content-Encoding: br\r\n"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"sta\r\n",
    ],
    ids=["not HTTP", "another protocol", "endless head", "compressed", "chunks cut off"],
)  # fmt: skip
async def test_get__refuses_what_is_no_answer(connect: Connect, server: RawServer, content: bytes) -> None:
    server.answers(content)
    assert type(await failure(fetch(connect(server.url)))) is FetchFailed


async def test_get__asks_again_where_a_kept_connection_had_been_closed(connect: Connect, server: RawServer) -> None:
    async def close_at_second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_request(reader)
        writer.write(answer(QUEUED))
        await server.read_request(reader)

    server.script = close_at_second
    client = connect(server.url)
    assert [await fetch(client) for _ in range(2)] == ["pending"] * 2
    assert (server.connections, len(server.requests)) == (2, 3)


async def test_get__takes_nothing_unasked_for_the_next_answer(connect: Connect, server: RawServer) -> None:
    forged = answer(b'{"status":"completed","video":{"url":"https://c.test/forged.mp4"}}')
    keep_open(server, answer(QUEUED) + forged, answer(QUEUED))
    client = connect(server.url)
    assert [await fetch(client) for _ in range(2)] == ["pending"] * 2
    assert server.connections == 2


async def test_get__a_thousand_at_once_share_the_connections(connect: Connect, server: RawServer) -> None:
    keep_open(server, answer(QUEUED))
    client = connect(server.url)
    assert set(await asyncio.gather(*(fetch(client) for _ in range(1_000)))) == {"pending"}
    assert server.connections == one_host.MOST_CONNECTIONS


async def test_get__a_failed_request_gives_its_place_back(
    connect: Connect, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_host, "MOST_CONNECTIONS", 1)
    client = connect(server.url, fetch_timeout_seconds=5)
    server.answers(b"")
    for _ in range(3):
        assert type(await failure(fetch(client))) is FetchFailed
    server.answers(answer(QUEUED))
    assert await fetch(client) == "pending"


async def test_get__writes_no_header_that_holds_a_line_break(server: RawServer) -> None:
    host = OneHost(server.url, connect_timeout_seconds=1)
    with pytest.raises(httpx2.LocalProtocolError):
        await host.get("/", headers={"If-None-Match": "a\r\nX: y"})
    assert server.connections == 0


async def test_get__tries_the_next_address(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens at the first of the host's addresses."""
    loop, kind = asyncio.get_running_loop(), (2, 1, 6, "")

    async def look_up(*_: object, **__: object) -> list[object]:
        return [(*kind, ("127.0.0.2", server.port)), (*kind, ("127.0.0.1", server.port))]

    monkeypatch.setattr(loop, "getaddrinfo", look_up)
    server.answers(answer(QUEUED))
    host = OneHost(server.url, connect_timeout_seconds=5)
    found = await host.get("/", headers={})
    assert found.status_code == 200
    await found.aclose()


@pytest.fixture
async def impostor(tmp_path: Path) -> AsyncIterator[str]:
    """A TLS server with a certificate of its own making."""
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert")]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pytest.fail("it was spoken to")

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(("trusted", "name"), [(False, "localhost"), (True, "127.0.0.1")])
async def test_get__tells_an_impostor_nothing(
    connect: Connect,
    impostor: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trusted: bool,
    name: str,
) -> None:
    """Neither a stranger's certificate nor one that is good for another name will do."""
    if trusted:
        monkeypatch.setattr(
            httpx2, "create_ssl_context", lambda **_: ssl.create_default_context(cafile=tmp_path / "cert")
        )
    error = await failure(fetch(connect(impostor.replace("localhost", name))))
    assert type(error) is FetchFailed
    assert "certificate" in error.message.lower()
