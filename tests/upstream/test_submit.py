"""The paid POST: what it sends, and what each answer is taken for."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx2
import pytest

from app.domain.errors import Refusal, Refused, Unconfirmed, UpstreamFailure
from app.upstream.client import UpstreamClient
from app.upstream.wire import Submitted

from .conftest import KEY, PATH, Handler, failure, submit

Pretend = Callable[[Handler], UpstreamClient]
ENVELOPE = {"message": "Body validation error: duration", "path": PATH, "requestId": "r", "statusCode": "400"}


class Broken(httpx2.AsyncByteStream):
    """A body that breaks off, or goes on for ever."""

    def __init__(self, *chunks: bytes, endless: bool = False) -> None:
        self._chunks = chunks
        self._endless = endless
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk
        while self._endless:
            self.sent += 65536
            yield b" " * 65536
        raise httpx2.ReadError(f"broke off near {KEY}")


async def answered(pretend: Pretend, status: int, **content: Any) -> UpstreamFailure:
    return await failure(submit(pretend(lambda request: httpx2.Response(status, **content))))


# 2xx


async def test_submit__reads_ids_and_credits(pretend: Pretend) -> None:
    body = {"id": "g1", "status": "queued", "meta": {"usage": {"credits_used": 1300000}}}
    client = pretend(lambda request: httpx2.Response(200, json=body, headers={"x-inference-id": "i1"}))
    assert await submit(client) == Submitted("g1", inference_id="i1", credits=1300000)


@pytest.mark.parametrize("status", [200, 201, 202, 299])
async def test_submit__every_2xx_with_an_id_is_bought(pretend: Pretend, status: int) -> None:
    client = pretend(lambda request: httpx2.Response(status, json={"generation_id": 42}))
    assert await submit(client) == Submitted("42")


@pytest.mark.parametrize(
    "content",
    [
        {"json": {}},
        {"json": {"status": "queued"}},
        {"json": []},
        {"json": "g1"},
        {"json": {"id": ""}},
        {"json": {"id": [KEY]}},
        {"content": b""},
        {"content": b"<html>welcome to the hotel</html>"},
        {"content": b"[" * 200_000},
        {"content": b'{"id":' + b"7" * 5000 + b"}"},
        {"content": b"\xff\xfe\x00"},
    ],
)
async def test_submit__2xx_without_an_id_is_unconfirmed(pretend: Pretend, content: dict[str, Any]) -> None:
    error = await answered(pretend, 200, **content)
    assert (type(error), error.http_status) == (Unconfirmed, 200)


async def test_submit__id_of_the_header_will_do(pretend: Pretend) -> None:
    client = pretend(lambda request: httpx2.Response(200, text="oops", headers={"x-inference-id": "i1"}))
    assert await submit(client) == Submitted("i1", inference_id="i1")


async def test_submit__salvages_a_broken_answer(pretend: Pretend, logs: list[Any]) -> None:
    headers = {"x-aimlapi-credits-used": "5"}
    client = pretend(lambda request: httpx2.Response(200, headers=headers, stream=Broken(b'{"id":', b'"g1"', b',"sta')))
    assert await submit(client) == Submitted("g1", credits=5)
    [entry] = logs
    assert (entry["event"], entry["generation_id"], entry["request_id"]) == ("submission_salvaged", "g1", "rly:d:j:1")
    assert "ReadError" in entry["trouble"]


async def test_submit__broken_answer_without_a_whole_id_is_unconfirmed(pretend: Pretend) -> None:
    error = await answered(pretend, 200, stream=Broken(b'{"id":"g'))
    assert type(error) is Unconfirmed
    assert "ReadError" in error.message


async def test_submit__endless_answer_is_read_up_to_the_cap(pretend: Pretend) -> None:
    endless = Broken(b'{"id":"g1","pad":"', endless=True)
    client = pretend(lambda request: httpx2.Response(200, stream=endless))
    assert await submit(client) == Submitted("g1")
    assert endless.sent < 2 * 1024 * 1024


async def test_submit__endless_refusal_is_still_a_refusal(pretend: Pretend) -> None:
    error = await answered(pretend, 400, stream=Broken(endless=True))
    assert (type(error), error.message) == (Refused, "The upstream answered HTTP 400.")


# Everything else


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        (400, Refusal.INVALID_INPUT),
        (413, Refusal.INVALID_INPUT),
        (415, Refusal.INVALID_INPUT),
        (422, Refusal.INVALID_INPUT),
        (401, Refusal.BAD_KEY),
        (402, Refusal.FORBIDDEN),
        (403, Refusal.FORBIDDEN),
        (404, Refusal.NOT_FOUND),
        (429, Refusal.RATE_LIMITED),
    ],
)
@pytest.mark.parametrize("content", [{"json": ENVELOPE}, {"content": b""}, {"stream": Broken(b'{"mess')}])
async def test_submit__definite_status_is_a_refusal(
    pretend: Pretend, status: int, refusal: Refusal, content: dict[str, Any]
) -> None:
    error = await answered(pretend, status, **content)
    assert isinstance(error, Refused)
    assert (error.refusal, error.http_status, error.retry_after_seconds) == (refusal, status, None)
    assert error.message == (ENVELOPE["message"] if "json" in content else f"The upstream answered HTTP {status}.")


@pytest.mark.parametrize(
    "status", [500, 502, 503, 504, 520, 600, 301, 302, 303, 307, 308, 304, 405, 408, 409, 410, 418]
)
@pytest.mark.parametrize("content", [{"json": ENVELOPE}, {"text": "<html>Bad gateway</html>"}, {"json": {"id": "g1"}}])
async def test_submit__any_other_status_is_unconfirmed(pretend: Pretend, status: int, content: dict[str, Any]) -> None:
    headers = {"location": "http://elsewhere.test/", "x-inference-id": "i1"}
    error = await answered(pretend, status, headers=headers, **content)
    assert (type(error), error.http_status) == (Unconfirmed, status)


async def test_submit__operator_chooses_the_definite_statuses(connect: Any) -> None:
    def options(status: int) -> dict[str, Any]:
        transport = httpx2.MockTransport(lambda request: httpx2.Response(status))
        return {"submit_transport": transport, "definite_statuses": frozenset({409, 503})}

    for status, refusal in ((409, Refusal.INVALID_INPUT), (503, Refusal.RATE_LIMITED)):
        error = await failure(submit(connect(**options(status))))
        assert isinstance(error, Refused)
        assert error.refusal is refusal
    assert type(await failure(submit(connect(**options(400))))) is Unconfirmed


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("7", 7), ("1.5", 1.5), ("0", 0), ("-3", 0), ("soon", None), ("", None), ("inf", None), ("nan", None),
     ("1e999", None), ("Thu, 01 Jan 1970 00:00:00 GMT", 0), ("Wed, 99 Foo 2026 00:00:00 GMT", None)],
)  # fmt: skip
async def test_submit__reads_retry_after(pretend: Pretend, asked: str, seconds: float | None) -> None:
    error = await answered(pretend, 429, headers={"retry-after": asked})
    assert error.retry_after_seconds == seconds


@pytest.mark.parametrize("status", [429, 503])
async def test_submit__reads_retry_after_as_a_date(pretend: Pretend, status: int) -> None:
    later = datetime.now(UTC) + timedelta(seconds=100)
    for date in (format_datetime(later, usegmt=True), format_datetime(later).replace("+0000", "-0000")):
        error = await answered(pretend, status, headers={"retry-after": date})
        assert error.retry_after_seconds is not None
        assert 95 < error.retry_after_seconds <= 100


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"message": ["duration must be 5", "prompt is empty"]}, "duration must be 5; prompt is empty"),
        ({"message": "No credits", "error": "Forbidden", "statusCode": 403}, "No credits"),
        ({"error": {"name": "E", "message": "Inner"}}, "Inner"),
        ("Slow down", "Slow down"),
        ({"message": {"odd": 1}}, "The upstream answered HTTP 403."),
        ({"message": "x\x00y data:image/png;base64,AAAA"}, "xy data:…"),
    ],
)
async def test_submit__repeats_the_upstreams_sentence(pretend: Pretend, body: Any, message: str) -> None:
    assert (await answered(pretend, 403, json=body)).message == message


@pytest.mark.parametrize(
    "echo",
    [
        f"Invalid key: {KEY}",
        f"Bearer {KEY}, {KEY}",
        KEY,
        "p" * 490 + KEY,
        KEY[:8] + "\x00" + KEY[8:],
    ],
)
@pytest.mark.parametrize("status", [200, 401, 500])
async def test_submit__never_repeats_the_key(pretend: Pretend, status: int, echo: str) -> None:
    headers = {"x-echo": KEY, "x-aimlapi-credits-used": KEY, "retry-after": KEY, "location": f"/{KEY}"}
    message = (await answered(pretend, status, json={"message": echo}, headers=headers)).message
    # Not even the beginning of it, where the length limit cuts.
    assert KEY[:8] not in message


async def test_submit__never_logs_the_key_as_an_id(pretend: Pretend, logs: list[Any]) -> None:
    client = pretend(lambda request: httpx2.Response(200, stream=Broken(b'{"id":"' + KEY.encode() + b'"')))
    await submit(client)
    assert [entry["event"] for entry in logs] == ["submission_salvaged"]
