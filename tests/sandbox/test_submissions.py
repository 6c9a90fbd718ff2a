"""Buying: keys, paths, validation, ids, headers, limits."""

import asyncio
import base64
import re
from typing import Any

import pytest

from app.catalogue.facts import PATHS
from tests.sandbox.conftest import PATH, Box, OpenBox, picture

VEO = "veo2/image-to-video"


@pytest.mark.parametrize("given", ["", "Bearer wrong", "sandbox-key", "Basic sandbox-key"])
async def test_submit__refuses_bad_key_with_envelope(box: Box, given: str) -> None:
    answer = await box.http.post(PATH, json={"model": "veo2", "prompt": "x"}, headers={"authorization": given})
    assert answer.status_code == 401
    assert answer.json().keys() == {"message", "path", "requestId", "statusCode", "timestamp"}
    assert answer.json()["path"] == PATH
    assert (await box.ledger())["count"] == 0


async def test_submit__takes_every_configured_key(open_box: OpenBox) -> None:
    box = open_box(keys=("one", "two"))
    for key, status in (("one", 200), ("two", 200), ("sandbox-key", 401)):
        assert (await box.submit(headers={"authorization": f"Bearer {key}"})).status_code == status


@pytest.mark.parametrize("path", PATHS)
async def test_submit__and_fetch_on_every_path(box: Box, path: str) -> None:
    answer = await box.http.post(path, json={"model": "veo2", "prompt": "x"})
    assert answer.status_code == (200 if path == PATH else 201)
    assert answer.json()["status"] == "queued"
    found = await box.http.get(path, params={"generation_id": answer.json()["id"]})
    assert (found.status_code, found.json()["status"]) == (200, "queued")


def test_paths__cover_the_vendors() -> None:
    assert "/v2/generate/video/google/generation" in PATHS
    assert len(PATHS) == 8


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"model": "veo2"}, '"prompt" expected a value, received undefined'),
        ({"prompt": "x"}, '"model" expected string, received undefined'),
        ({"model": "veo2", "prompt": 5}, '"prompt" expected string, received number'),
        ({"model": "veo2", "prompt": "x", "duration": 9}, '"duration" expected 5 | 6 | 7 | 8, received 9'),
        ({"model": "veo2", "prompt": "x", "duration": "long"}, '"duration" expected integer, received string'),
        ({"model": "veo2", "prompt": "x", "duration": "nan"}, '"duration" expected integer, received string'),
        ({"model": "veo2", "prompt": "x", "aspect_ratio": "1:1"}, '"aspect_ratio" expected "16:9" | "9:16"'),
        ({"model": "veo2", "prompt": "x", "metadata": {}}, "unrecognized key(s): metadata"),
        ({"model": "veo2", "prompt": "x [[fault:nonsense]]"}, "unknown sandbox fault 'nonsense'"),
        ([], "expected object, received array"),
    ],
)
async def test_submit__says_what_was_expected(box: Box, body: Any, said: str) -> None:
    answer = await box.http.post(PATH, json=body)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("Body validation error")
    assert said in answer.json()["message"]
    assert answer.json()["statusCode"] == 400
    assert (await box.ledger())["count"] == 0


async def test_submit__refuses_what_is_not_json(box: Box) -> None:
    for content in (b"{", b'{"model": NaN}', b"\xff"):
        assert (await box.http.post(PATH, content=content)).status_code == 400


async def test_submit__refuses_unknown_model(box: Box) -> None:
    answer = await box.submit(model="veo99")
    assert answer.status_code == 404
    assert "veo99" in answer.json()["message"]


async def test_submit__refuses_large_body(open_box: OpenBox) -> None:
    box = open_box(max_body_bytes=1000)
    assert (await box.submit("x" * 1000)).status_code == 413
    assert (await box.submit("x" * 100)).status_code == 200


async def test_submit__reads_duration_sent_as_text(box: Box) -> None:
    await box.bought(model=VEO, image_url=picture(), duration="8")
    assert (await box.ledger())["purchases"][0]["cost_credits"] == 8_000_000


@pytest.mark.parametrize(
    "image",
    [
        "data:image/png;base64,@@@",
        "data:image/png;base64," + base64.b64encode(b"not an image").decode(),
        picture()[:-60] + "AAAA",
        "ftp://example.com/a.png",
        "just text",
    ],
)
async def test_submit__refuses_bad_image(box: Box, image: str) -> None:
    answer = await box.submit(model=VEO, image_url=image)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith('Body validation error: "image_url" expected')


async def test_submit__takes_inline_image_and_link(box: Box) -> None:
    await box.bought(model=VEO, image_url=picture(), tail_image_url="https://192.0.2.1/never-fetched.png")
    (stored,) = box.sandbox.studio.stills.iterdir()
    kept = box.sandbox.store.latest().inputs
    assert kept["image_url"] == f"still:{stored.name}"
    assert kept["tail_image_url"] == "https://192.0.2.1/never-fetched.png"


@pytest.mark.parametrize(
    ("model", "field", "form"),
    [
        ("veo2", "id", r"[0-9a-f-]{36}:veo2"),
        ("minimax/hailuo-x", "generation_id", r"\d{15}"),
        ("pixverse/v9", "generation_id", r"[\w-]{21}"),
        ("openai/sora-9", "id", r"[\w-]{21}"),
        ("klingai/v9-pro", "id", r"[0-9a-f-]{36}:klingai/v9-pro"),
        ("elsewhere/plain", "id", r"[0-9a-f-]{36}"),
    ],
)
async def test_submit__id_form_follows_model(box: Box, model: str, field: str, form: str) -> None:
    answer = await box.submit(model=model)
    given = answer.json()[field]
    assert isinstance(given, int) == (form == r"\d{15}")
    assert re.fullmatch(form, str(given))
    assert len({"id", "generation_id"} & answer.json().keys()) == 1
    assert answer.headers["x-inference-id"] == str(given)
    found = await box.poll(str(given))
    assert (found.status_code, found.json()["id"], found.headers["x-inference-id"]) == (200, given, str(given))


async def test_submit__id_form_can_be_chosen(open_box: OpenBox) -> None:
    box = open_box(id_form="number", id_field="generation_id")
    assert isinstance((await box.submit()).json()["generation_id"], int)


@pytest.mark.parametrize("given", ["rly:main:job_1:2", "a", "x" * 128, "A-Z.0_9:-"])
async def test_client_request_id__is_stored_and_echoed(box: Box, given: str) -> None:
    answer = await box.submit(headers={"x-client-request-id": given})
    assert answer.headers["x-client-request-id"] == given
    assert (await box.ledger())["purchases"][0]["client_request_id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "with space", "a/b", "ü".encode().decode("latin-1")])
async def test_client_request_id__is_silently_dropped_when_malformed(box: Box, given: str) -> None:
    answer = await box.http.post(
        PATH, json={"model": "veo2", "prompt": "x"}, headers=[("x-client-request-id", given.encode("latin-1"))]
    )
    assert answer.status_code == 200
    assert "x-client-request-id" not in answer.headers
    assert (await box.ledger())["purchases"][0]["client_request_id"] is None


async def test_inference_id__is_on_every_answer_of_the_api(box: Box) -> None:
    for path in ("/v1/models", "/v2/billing", "/v2/logs?period=1h", "/nowhere", f"{PATH}?generation_id=x"):
        assert (await box.http.get(path)).headers["x-inference-id"]
    assert "x-inference-id" not in (await box.poll("\x7f-not-an-id")).headers


@pytest.mark.parametrize(
    ("reported", "at_submit", "at_end"),
    [("submit", True, False), ("end", False, True), ("both", True, True), ("never", False, False)],
)
async def test_credits__are_reported_when_configured(
    open_box: OpenBox, reported: str, at_submit: bool, at_end: bool
) -> None:
    box = open_box(credits_reported=reported, cost_headers=at_submit)
    answer = await box.submit()
    box.wait()
    end = (await box.poll(answer.json()["id"])).json()
    for shown, expected in ((answer.json(), at_submit), (end, at_end)):
        assert (shown.get("meta") == {"usage": {"credits_used": 5_000_000, "usd_spent": 2.5}}) is expected
        assert ("meta" in shown) is expected
    assert answer.headers.get("x-aimlapi-credits-used") == ("5000000" if at_submit else None)
    assert answer.headers.get("x-aimlapi-usd-spent") == ("2.500000000" if at_submit else None)


async def test_admit__refuses_beyond_limit_and_frees_slots(open_box: OpenBox) -> None:
    box = open_box(max_in_flight=3)
    answers = await asyncio.gather(*(box.submit(f"{n}") for n in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 17
    assert (await box.ledger())["max_in_flight_seen"] == 3
    box.wait()
    assert (await box.submit()).status_code == 200
    assert (await box.ledger())["max_in_flight_seen"] == 3


async def test_admit__refuses_when_account_is_empty(open_box: OpenBox) -> None:
    box = open_box(balance_usd=5.0)
    await box.bought()
    await box.bought()
    refused = await box.submit()
    assert refused.status_code == 403
    assert "credits" in refused.json()["message"]
    await box.http.put("/_sandbox/balance", json={"usd": 7.5})
    await box.bought()
