"""The free reads: a generation and the balance; and what the client refuses to be built with."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from app.domain.errors import FetchFailed, GenerationUnknown, Refusal, Refused, UpstreamFailure
from app.upstream.client import UpstreamClient
from app.upstream.wire import Balance, Generation

from .conftest import KEY, PATH, Handler, RawServer, always, answer, failure

Connect = Callable[..., UpstreamClient]
Pretend = Callable[[Handler], UpstreamClient]


def fetch(client: UpstreamClient, generation_id: str = "g1", *, path: str = PATH) -> Any:
    return client.fetch(path=path, generation_id=generation_id)


# Fetching a generation


async def test_fetch__asks_for_the_generation(pretend: Pretend) -> None:
    seen: list[httpx2.Request] = []

    def tell(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(
            200, json={"id": "a b&c:ü", "status": "succeeded", "video": {"url": "https://c.test/a.mp4"}}
        )

    found = await fetch(pretend(tell), "a b&c:ü")
    assert found == Generation("completed", "succeeded", video_url="https://c.test/a.mp4")
    [request] = seen
    assert (request.method, request.url.path) == ("GET", PATH)
    assert dict(request.url.params) == {"generation_id": "a b&c:ü"}
    assert request.headers["authorization"] == f"Bearer {KEY}"


async def test_fetch__answer_without_id_is_fine(pretend: Pretend) -> None:
    assert (await fetch(pretend(always(200, json={"status": "queued"})))).status == "pending"


@pytest.mark.parametrize(
    "content",
    [
        {"json": {"id": "other", "status": "completed", "video": {"url": "https://c.test/other.mp4"}}},
        {"json": {"id": "g1"}},
        {"json": {"id": "g1", "status": 5}},
        {"json": []},
        {"json": None},
        {"json": "completed"},
        {"text": "<html>"},
        {"content": b""},
        {"content": b'{"id":"g1","status":"queued"'},
        {"content": b"[" * 200_000},
        {"content": b'"' + b"x" * 2_000_000 + b'"'},
    ],
)
async def test_fetch__answer_that_does_not_say_fails(pretend: Pretend, content: dict[str, Any]) -> None:
    error = await failure(fetch(pretend(always(200, **content))))
    assert (type(error), error.http_status) == (FetchFailed, 200)


async def test_fetch__unknown_generation(pretend: Pretend) -> None:
    error = await failure(fetch(pretend(always(404, json={"message": "No such generation"}))))
    assert (type(error), error.message, error.http_status) == (GenerationUnknown, "No such generation", 404)


@pytest.mark.parametrize(("status", "refusal"), [(401, Refusal.BAD_KEY), (403, Refusal.FORBIDDEN)])
async def test_fetch__refused_key(pretend: Pretend, status: int, refusal: Refusal) -> None:
    error = await failure(fetch(pretend(always(status, json={"message": f"Bad key {KEY}"}))))
    assert isinstance(error, Refused)
    assert (error.refusal, error.http_status, error.message) == (refusal, status, "Bad key [key]")


@pytest.mark.parametrize("status", [429, 503])
async def test_fetch__keeps_retry_after(pretend: Pretend, status: int) -> None:
    error = await failure(fetch(pretend(always(status, headers={"retry-after": "12"}))))
    assert (type(error), error.http_status, error.retry_after_seconds) == (FetchFailed, status, 12)


@pytest.mark.parametrize("status", [301, 304, 307, 400, 402, 408, 410, 500, 502])
async def test_fetch__any_other_status_fails(pretend: Pretend, status: int) -> None:
    content = {"headers": {"location": "http://elsewhere.test/"}, "json": {"id": "g1", "status": "error"}}
    error = await failure(fetch(pretend(always(status, **content))))
    assert (type(error), error.http_status) == (FetchFailed, status)


@pytest.mark.parametrize(
    "raised", [httpx2.ConnectError, httpx2.ReadTimeout, RuntimeError, UnicodeError, ExceptionGroup]
)
async def test_fetch__whatever_breaks_is_a_failure(pretend: Pretend, raised: type[Exception]) -> None:
    def fail(request: httpx2.Request) -> httpx2.Response:
        raise raised("x", [ValueError()]) if raised is ExceptionGroup else raised(f"x {KEY}")

    error = await failure(fetch(pretend(fail)))
    assert (type(error), error.http_status) == (FetchFailed, None)


@pytest.mark.parametrize("path", ["v2/video", "@evil.test/x", ".evil.test/x", ""])
async def test_fetch__odd_path_does_not_change_the_host(pretend: Pretend, path: str) -> None:
    client = pretend(lambda request: pytest.fail("it was sent"))
    assert type(await failure(fetch(client, path=path))) is FetchFailed


async def test_fetch__odd_id_is_a_failure_not_a_crash(pretend: Pretend) -> None:
    assert type(await failure(fetch(pretend(always(200, json={})), "\ud800"))) is FetchFailed


async def test_fetch__unknown_word_is_pending_and_logged_once(pretend: Pretend, logs: list[Any]) -> None:
    words = iter(["marinating", "Marinating!", "marinating", "queued", KEY])
    client = pretend(lambda request: httpx2.Response(200, json={"status": next(words)}))
    assert [(await fetch(client)).status for _ in range(5)] == ["pending"] * 5
    assert [(entry["event"], entry["word"]) for entry in logs] == [
        ("upstream_status_unknown", "marinating"),
        ("upstream_status_unknown", "Marinating!"),
        ("upstream_status_unknown", "[key]"),
    ]


async def test_fetch__endless_new_words_are_not_all_remembered(pretend: Pretend, logs: list[Any]) -> None:
    words = iter(range(300))
    client = pretend(lambda request: httpx2.Response(200, json={"status": f"word {next(words)}"}))
    for _ in range(300):
        await fetch(client)
    assert len(logs) == 100


async def test_fetch__error_never_repeats_the_key(pretend: Pretend) -> None:
    found = await fetch(pretend(always(200, json={"status": "error", "error": {"message": "p" * 495 + KEY}})))
    assert found.error_message is not None
    assert KEY[:4] not in found.error_message
    assert KEY not in repr(found)


# Over real sockets


async def test_fetch__reuses_its_connection(connect: Connect, server: RawServer) -> None:
    async def keep_open(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.read_request(reader)
            writer.write(answer(b'{"status":"queued"}'))
            await writer.drain()

    server.script = keep_open
    client = connect(server.url, fetch_timeout_seconds=5)
    for _ in range(3):
        assert (await fetch(client)).status == "pending"
    assert (server.connections, len(server.requests)) == (1, 3)


async def test_fetch__hang_is_a_failure(connect: Connect, server: RawServer) -> None:
    error = await failure(fetch(connect(server.url, fetch_timeout_seconds=0.2)))
    assert type(error) is FetchFailed
    assert "Timeout" in error.message


async def test_fetch__slow_drip_is_cut_off(connect: Connect, server: RawServer) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_request(reader)
        writer.write(answer(b'{"status":"queued","pad":"', length=10_000))
        while True:
            writer.write(b"z")
            await writer.drain()
            await asyncio.sleep(0.05)

    server.script = drip
    started = time.monotonic()
    assert type(await failure(fetch(connect(server.url, fetch_timeout_seconds=0.3)))) is FetchFailed
    assert time.monotonic() - started < 5


async def test_fetch__answer_cut_at_every_byte_fails(connect: Connect, server: RawServer) -> None:
    full = answer(b'{"id":"g1","status":"completed","video":{"url":"https://c.test/a.mp4"}}')
    client = connect(server.url, fetch_timeout_seconds=5)
    for length in range(0, len(full), 3):
        server.answers(full[:length])
        assert type(await failure(fetch(client))) is FetchFailed
    server.answers(full)
    assert (await fetch(client)).video_url == "https://c.test/a.mp4"


async def test_fetch__cancellation_passes_through(connect: Connect, server: RawServer) -> None:
    async def ask() -> None:
        await fetch(connect(server.url, fetch_timeout_seconds=5))

    asking = asyncio.create_task(ask())
    while not server.requests:
        await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


# The balance


async def test_balance__reads_the_account(pretend: Pretend) -> None:
    def tell(request: httpx2.Request) -> httpx2.Response:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert str(request.url) == "http://upstream.test/v2/billing/detail"
        return httpx2.Response(200, json={"current_balance": 12.345678})

    assert await pretend(tell).balance() == Balance(12_345_678)


async def test_balance__odd_answer_still_proves_the_key(pretend: Pretend) -> None:
    assert await pretend(always(200, json={"balance": "?"})).balance() == Balance(None)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, Refused), (403, Refused), (404, FetchFailed), (429, FetchFailed), (500, FetchFailed), (302, FetchFailed)],
)
async def test_balance__tells_a_refused_key_from_a_failure(
    pretend: Pretend, status: int, kind: type[UpstreamFailure]
) -> None:
    assert type(await failure(pretend(always(status)).balance())) is kind


# Building and closing


@pytest.mark.parametrize(
    "url",
    ["", "upstream.test", "ftp://upstream.test", "http://", "https://user:pw@upstream.test", "https://u.test/?a=1",
     "https://u.test/#x", "https://u.test:port", "https://[::1"],
)  # fmt: skip
def test_client__refuses_an_unusable_url(url: str) -> None:
    with pytest.raises(ValueError, match="upstream URL"):
        UpstreamClient(url, api_key=SecretStr(KEY))


@pytest.mark.parametrize("key", ["", " ", f"{KEY}\n", f" {KEY}", f"{KEY} x", "schlüssel", "a\x00b"])
def test_client__refuses_an_unusable_key_without_repeating_it(key: str) -> None:
    with pytest.raises(ValueError, match="upstream key") as caught:
        UpstreamClient("https://upstream.test", api_key=SecretStr(key))
    assert KEY not in str(caught.value)


async def test_client__slash_at_the_end_of_the_url_does_not_matter(connect: Connect) -> None:
    def tell(request: httpx2.Request) -> httpx2.Response:
        assert request.url.path == "/prefix" + PATH
        return httpx2.Response(200, json={"status": "queued"})

    await fetch(connect("http://upstream.test/prefix/", transport=httpx2.MockTransport(tell)))


async def test_client__does_not_show_the_key(connect: Connect) -> None:
    client = connect()
    assert KEY not in repr(client) + repr(vars(client))


async def test_client__closes_both_transports() -> None:
    class Closing(httpx2.MockTransport):
        closed = False

        async def aclose(self) -> None:
            self.closed = True

    reads, paid = Closing(always(200)), Closing(always(200))
    options = {"transport": reads, "submit_transport": paid}
    async with UpstreamClient("http://upstream.test", api_key=SecretStr(KEY), **options):
        assert not reads.closed
    assert reads.closed
    assert paid.closed
