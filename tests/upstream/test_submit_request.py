"""The paid POST: what it sends, what it refuses to send, and what the transport's events prove."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from app.domain.errors import NotSent, Unconfirmed, UpstreamFailure
from app.upstream.client import UpstreamClient
from app.upstream.wire import Submitted

from .conftest import KEY, PATH, Handler, failure, submit

Pretend = Callable[[Handler], UpstreamClient]


async def test_submit__sends_model_input_and_request_id(pretend: Pretend) -> None:
    seen: list[httpx2.Request] = []

    def accept(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(201, json={"id": "g1"})

    given = {"prompt": "wäves", "model": "not this", "duration": 5}
    client = pretend(accept)
    assert await submit(client, input=given) == Submitted("g1")
    [request] = seen
    assert (request.method, str(request.url)) == ("POST", f"http://upstream.test{PATH}")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-client-request-id"] == "rly:d:j:1"
    assert request.headers["accept-encoding"] == "identity"
    assert json.loads(request.content) == {"prompt": "wäves", "duration": 5, "model": "veo2/image-to-video"}
    assert given["model"] == "not this"


@pytest.mark.parametrize(
    "wrong",
    [
        {"request_id": ""},
        {"request_id": "has space"},
        {"request_id": "x" * 129},
        {"request_id": "line\n"},
        {"request_id": "größe"},
        {"path": "v2/video"},
        {"path": "@evil.test/v2"},
        {"path": "/v2\x00"},
        {"path": "/" + "v" * 70_000},
        {"path": "/\ud800"},
        {"input": {"cfg": float("nan")}},
        {"input": {"image": object()}},
    ],
)
async def test_submit__what_cannot_be_written_is_not_sent(connect: Any, wrong: dict[str, Any]) -> None:
    client = connect(submit_transport=httpx2.MockTransport(lambda request: pytest.fail("it was sent")))
    assert type(await failure(submit(client, **wrong))) is NotSent


async def test_submit__takes_the_longest_request_id(pretend: Pretend) -> None:
    client = pretend(lambda request: httpx2.Response(200, json={"id": request.headers["x-client-request-id"]}))
    longest = "aZ09._:-" * 16
    assert (await submit(client, request_id=longest)).generation_id == longest


async def test_submit__odd_text_is_sent_as_it_is(pretend: Pretend) -> None:
    client = pretend(lambda request: httpx2.Response(200, json={"id": json.loads(request.content)["prompt"][:2]}))
    assert await submit(client, input={"prompt": "ok \ud800"}) == Submitted("ok")


async def test_submit__closed_client_sends_nothing(pretend: Pretend) -> None:
    client = pretend(lambda request: httpx2.Response(200, json={"id": "g1"}))
    await client.aclose()
    assert type(await failure(submit(client))) is NotSent


# What the transport's silence proves


async def test_submit__silent_transport_proves_nothing(pretend: Pretend) -> None:
    def fail(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError(f"no route for {KEY}")

    assert type(await failure(submit(pretend(fail)))) is Unconfirmed


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        (["connection.connect_tcp.started"], NotSent),
        (["connection.connect_tcp.started", "connection.start_tls.started"], NotSent),
        (["http2.send_connection_init.started"], NotSent),
        (["connection.connect_tcp.started", "http11.send_request_headers.started"], Unconfirmed),
        (["http2.send_request_headers.started"], Unconfirmed),
    ],
)
@pytest.mark.parametrize("raised", [httpx2.ConnectError, httpx2.ReadTimeout, RuntimeError, ExceptionGroup])
async def test_submit__trace_decides_not_the_exception(
    connect: Any, events: list[str], kind: type[UpstreamFailure], raised: type[Exception]
) -> None:
    async def fail(request: httpx2.Request) -> httpx2.Response:
        for event in events:
            await request.extensions["trace"](event, {"request": request})
        raise raised("x", [ValueError()]) if raised is ExceptionGroup else raised(f"x {KEY}")

    assert type(await failure(submit(connect(submit_transport=httpx2.MockTransport(fail))))) is kind
