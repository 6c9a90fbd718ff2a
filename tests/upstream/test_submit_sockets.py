"""Over real sockets: slow, cut-off and odd answers to the paid POST, and that it goes out once."""

import asyncio
import gzip
import time
from collections.abc import Callable

import pytest

from app.domain.errors import Refused, Unconfirmed
from app.upstream.client import UpstreamClient
from app.upstream.wire import Submitted

from .conftest import RawServer, answer, failure, submit

Connect = Callable[..., UpstreamClient]


async def test_submit__body_that_drips_is_salvaged(connect: Connect, server: RawServer) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_request(reader)
        writer.write(answer(b'{"id":"g1","pad":"', length=10_000))
        while True:
            writer.write(b"z")
            await writer.drain()
            await asyncio.sleep(0.05)

    server.script = drip
    started = time.monotonic()
    assert await submit(connect(server.url, submit_timeout_seconds=0.3)) == Submitted("g1")
    assert 0.25 < time.monotonic() - started < 5


@pytest.mark.parametrize(("seconds", "answered"), [(0.6, False), (5, True)])
async def test_submit__all_phases_share_one_limit(
    connect: Connect, server: RawServer, seconds: float, answered: bool
) -> None:
    async def linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_request(reader)
        await asyncio.sleep(0.4)
        writer.write(answer(b"", length=11))
        await asyncio.sleep(0.4)
        writer.write(b'{"id":"g1"}')
        await writer.drain()

    server.script = linger
    client = connect(server.url, submit_timeout_seconds=seconds)
    if answered:
        assert await submit(client) == Submitted("g1")
    else:
        assert isinstance(await failure(submit(client)), Unconfirmed)


FULL = [
    (answer(b'{"id":"0c4b5b2e:veo2","status":"queued"}'), "0c4b5b2e:veo2"),
    (answer(b'{"status":"queued","id":1234567890,"n":1}'), "1234567890"),
    (b'HTTP/1.1 200 OK\r\n\r\n{"generation_id":9876543210}', "9876543210"),
    (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{"id":\r\n6\r\n"g1g2"\r\n1\r\n}\r\n0\r\n\r\n', "g1g2"),
    (answer(b"{}", headers="x-inference-id: 0c4b5b2e\r\n"), "0c4b5b2e"),
]


@pytest.mark.parametrize(("full", "generation_id"), FULL)
async def test_submit__cut_at_every_byte(connect: Connect, server: RawServer, full: bytes, generation_id: str) -> None:
    client = connect(server.url)
    found = []
    for length in range(len(full) + 1):
        server.answers(full[:length])
        try:
            found.append((await submit(client)).generation_id)
        except Unconfirmed:
            found.append(None)
    assert set(found) == {None, generation_id}
    assert found[-1] == generation_id
    assert server.connections == len(found)


async def test_submit__reads_a_compressed_answer(connect: Connect, server: RawServer) -> None:
    server.answers(answer(gzip.compress(b'{"id":"g1"}'), headers="Content-Encoding: gzip\r\n"))
    assert await submit(connect(server.url)) == Submitted("g1")


async def test_submit__answer_that_cannot_be_decompressed_has_its_headers(connect: Connect, server: RawServer) -> None:
    client = connect(server.url)
    server.answers(answer(b"not gzip", headers="Content-Encoding: gzip\r\n"))
    error = await failure(submit(client))
    assert (type(error), error.http_status) == (Unconfirmed, 200)
    server.answers(answer(b"not gzip", headers="Content-Encoding: gzip\r\nX-Inference-Id: i1\r\n"))
    assert await submit(client) == Submitted("i1", inference_id="i1")


async def test_submit__cut_off_refusal_is_a_refusal(connect: Connect, server: RawServer) -> None:
    server.answers(answer(b'{"message":"Body val', status=400, length=500))
    assert type(await failure(submit(connect(server.url)))) is Refused


async def test_submit__every_purchase_has_a_fresh_connection(connect: Connect, server: RawServer) -> None:
    async def keep_open(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.read_request(reader)
            writer.write(answer(b'{"id":"g1"}', headers="Connection: keep-alive\r\n"))
            await writer.drain()

    server.script = keep_open
    client = connect(server.url)
    for _ in range(3):
        await submit(client)
    assert (server.connections, len(server.requests)) == (3, 3)
    assert all(b"\r\nConnection: close\r\n" in request for request in server.requests)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_submit__follows_no_redirect(connect: Connect, server: RawServer, status: int) -> None:
    server.answers(answer(b"", status=status, headers=f"Location: {server.url}/elsewhere\r\n"))
    assert type(await failure(submit(connect(server.url)))) is Unconfirmed
    assert server.connections == 1


@pytest.mark.parametrize("status", [401, 408, 429, 500, 503])
async def test_submit__posts_once_whatever_the_answer(connect: Connect, server: RawServer, status: int) -> None:
    server.answers(answer(b"", status=status, headers="Retry-After: 0\r\n"))
    await failure(submit(connect(server.url)))
    assert len(server.requests) == 1


async def test_client__ignores_proxies_of_the_environment(
    connect: Connect, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    server.answers(answer(b'{"id":"g1","status":"queued","current_balance":1}'))
    client = connect(server.url, fetch_timeout_seconds=5)
    assert await submit(client) == Submitted("g1")
    assert (await client.balance()).micros == 1_000_000


async def test_submit__cancellation_passes_through(connect: Connect, server: RawServer) -> None:
    async def post() -> None:
        await submit(connect(server.url))

    posting = asyncio.create_task(post())
    while not server.requests:
        await asyncio.sleep(0.01)
    posting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await posting
