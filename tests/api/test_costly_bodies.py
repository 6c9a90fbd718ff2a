"""Bodies made to cost much: refused soon, with the event loop free."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from app.api import wire
from app.api.deps import House
from app.catalogue.catalogue import Catalogue, Model
from app.db import deployment
from app.db.engine import Database
from app.domain.errors import InvalidRequest
from app.domain.listing import ListedModel
from tests.api.conftest import require_error
from tests.conftest import one_database

KEY = {"Content-Type": "application/json"}
MANY = ",".join(f'"f{n}":0' for n in range(9_000))
FACES = ["/v1/jobs", "/v1/videos", "/v2/video/generations"]


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ("{" + MANY + ',"f8999":0}', "duplicate_field", "f8999"),
        ("{" + MANY + "}", "invalid_request", None),
        ('{"input":{"prompt":"x"},"metadata":{' + MANY.replace(":0", ':"0"') + "}}", "invalid_request", "metadata"),
        ('{"input":{' + MANY + "}}", "invalid_request", "input"),
    ],
    ids=["duplicate", "fields", "metadata", "parameters"],
)
async def test_crowds__are_refused_soon(client: httpx2.AsyncClient, body: str, code: str, param: str | None) -> None:
    started = time.process_time()
    answer = await client.post("/v1/jobs", content=body.encode(), headers=KEY)
    assert answer.status_code == 400
    assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == (code, param)
    assert time.process_time() - started < 2


async def test_guessing__stops_at_long_words(client: httpx2.AsyncClient) -> None:
    started = time.process_time()
    job = {"model": "veo2", "input": {"prompt": "x", "aspect_ratio": "16:9" * 500_000}}
    answer = await client.post("/v1/jobs", json=job)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "input.aspect_ratio"
    assert time.process_time() - started < 2


@pytest.mark.parametrize("text", ["\u0665", " 5 ", "5_0", "0x5", "9" * 5000])
async def test_coercion__takes_plain_digits_only(client: httpx2.AsyncClient, text: str) -> None:
    job = {"model": "veo2", "input": {"prompt": "x", "duration": text}}
    assert (await client.post("/v1/jobs", json=job)).json()["error"]["param"] == "input.duration"


@pytest.fixture
def new_model(app: FastAPI, house: House, database: Database) -> None:
    """Let a model be used that only the upstream knows."""
    app.state.house = replace(house, allow_unknown_models=True)
    with database.transaction() as conn:
        listed = [ListedModel("acme/new", (), "Acme")]
        deployment.save_prices(conn, etag="e", rules={}, models=listed, now=database.now(conn))


@one_database
@pytest.mark.usefixtures("new_model")
@pytest.mark.parametrize("path", FACES)
@pytest.mark.parametrize("model", ["veo2", "acme/new"])
@pytest.mark.parametrize("parameters", [101, 9_000, 500_000])
async def test_crowds__of_parameters_are_refused_soon_on_every_face(
    client: httpx2.AsyncClient, path: str, model: str, parameters: int
) -> None:
    given = {"prompt": "x"} | {f"p{number}": 0 for number in range(parameters)}
    body = {"model": model, "input": given} if path == "/v1/jobs" else {"model": model} | given
    started = time.process_time()
    refused = await client.post(path, json=body)
    assert refused.status_code == 400, refused.text
    assert ("10000 values" if parameters > wire.MOST_VALUES else "100 fields") in refused.text
    assert time.process_time() - started < 2


@one_database
@pytest.mark.usefixtures("new_model")
@pytest.mark.parametrize("path", FACES)
async def test_crowds__of_files_are_refused_soon(client: httpx2.AsyncClient, path: str) -> None:
    given = {"prompt": "x", "images": ["file_x"] * 9_990}
    body = {"model": "acme/new", "input": given} if path == "/v1/jobs" else {"model": "acme/new"} | given
    started = time.process_time()
    assert (await client.post(path, json=body)).status_code == 400
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("text", "is_taken"),
    [
        ("[" + "1," * 9_998 + "1]", True),
        ("[" + "1," * 9_999 + "1]", False),
        ("[" + "[ ]," * 9_998 + "{}]", True),
        ("[" + "[ ]," * 9_999 + "{}]", False),
        ("[" + '{"a":1},' * 4_998 + '{"a":1}]', True),
        ("[" + '{"a":1},' * 4_999 + '{"a":1}]', False),
        ('{"prompt":"' + "," * 20_000 + '"}', True),
        ('{"prompt":"\\"[' + "{" * 20_000 + '"}', True),
    ],
)
def test_values__are_counted_exactly(text: str, is_taken: bool) -> None:
    if is_taken:
        wire.parse_value(text.encode())
        return
    with pytest.raises(InvalidRequest) as refused:
        wire.parse_value(text.encode())
    assert refused.value.code == "too_many_values"


@pytest.mark.parametrize(
    "text",
    ["[" + "[]," * 1_000_000 + "[]]", '["' + '\\"' * 1_000_000, '"' * 3_000_000 + "," * 10_000, "[" * 3_000_000],
    ids=["empties", "unterminated", "quotes", "openings"],
)
def test_values__are_refused_before_any_is_made(text: str) -> None:
    started = time.process_time()
    with pytest.raises(InvalidRequest):
        wire.parse_value(text.encode())
    assert time.process_time() - started < 1


@one_database
async def test_values__of_all_parts_of_a_form_count_together(client: httpx2.AsyncClient) -> None:
    model = {"model": "kling-video/v1.6/standard/multi-image-to-video"}
    parts = [("image_list", "[" + ",".join(["1"] * 6_000) + "]")] * 2
    files = [(name, (None, text)) for name, text in [*model.items(), *parts]]
    require_error(await client.post("/v1/jobs", files=files), 400, code="too_many_values")


class Watched(Model):
    """A model that notes whether it is asked on the event loop, and takes nothing."""

    def check(self, given: dict[str, Any]) -> dict[str, Any]:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise InvalidRequest("Asked in a thread.") from None
        raise InvalidRequest("Asked on the loop.")


@one_database
@pytest.mark.parametrize("path", [*FACES, "/v1/jobs/estimate"])
async def test_large_bodies__are_checked_off_the_loop(
    client: httpx2.AsyncClient, app: FastAPI, house: House, path: str
) -> None:
    app.state.house = replace(house, catalogue=Catalogue({"veo2": Watched("veo2", "Google", "/", {})}))
    for length, where in ((10, "on the loop"), (2 * wire.INLINE_PARSE_BYTES, "in a thread")):
        given = {"prompt": "x" * length}
        body = {"model": "veo2"} | ({"input": given} if path.startswith("/v1/jobs") else given)
        assert where in (await client.post(path, json=body)).text
