"""Bodies made to cost much: refused soon, with the event loop free."""

import time

import httpx2
import pytest

KEY = {"Content-Type": "application/json"}
MANY = ",".join(f'"f{n}":0' for n in range(30_000))


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ("{" + MANY + ',"f29999":0}', "duplicate_field", "f29999"),
        ("{" + MANY + "}", "invalid_request", None),
        ('{"input":{"prompt":"x"},"metadata":{' + MANY.replace(":0", ':"0"') + "}}", "invalid_request", "metadata"),
        ('{"input":{' + MANY + "}}", "invalid_request", "input"),
    ],
    ids=["duplicate", "fields", "metadata", "parameters"],
)
async def test_crowds__are_refused_soon(client: httpx2.AsyncClient, body: str, code: str, param: str | None) -> None:
    started = time.perf_counter()
    answer = await client.post("/v1/jobs", content=body.encode(), headers=KEY)
    assert answer.status_code == 400
    assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == (code, param)
    assert time.perf_counter() - started < 2


async def test_guessing__stops_at_long_words(client: httpx2.AsyncClient) -> None:
    started = time.perf_counter()
    job = {"model": "veo2", "input": {"prompt": "x", "aspect_ratio": "16:9" * 500_000}}
    answer = await client.post("/v1/jobs", json=job)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "input.aspect_ratio"
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize("text", ["\u0665", " 5 ", "5_0", "0x5", "9" * 5000])
async def test_coercion__takes_plain_digits_only(client: httpx2.AsyncClient, text: str) -> None:
    job = {"model": "veo2", "input": {"prompt": "x", "duration": text}}
    assert (await client.post("/v1/jobs", json=job)).json()["error"]["param"] == "input.duration"
