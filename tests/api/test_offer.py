"""The models that can be asked for: by every name, as the upstream lists them, and those that are new there."""

from dataclasses import replace
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from app.api.deps import House
from app.db import deployment
from app.db.engine import Database
from app.domain.listing import ListedModel
from tests.api.conftest import require_error
from tests.clips import clip
from tests.factories import INPUT, MODEL

RULE = {"kind": "fixed", "units": [{"price": "0.25", "unit": "second", "per": "1"}]}
LISTED = [
    ListedModel("google/veo2/image-to-video", (MODEL,), "Google"),
    ListedModel("veo2", (), "Google"),
    ListedModel("acme/brand-new", ("acme/new",), "Acme"),
]


@pytest.fixture
def database_kind() -> str:
    """What is offered is decided at the front door."""
    return "sqlite"


@pytest.fixture
def listed(database: Database) -> None:
    with database.transaction() as conn:
        rules = {"acme/brand-new": RULE, "acme/new": RULE}
        deployment.save_prices(conn, etag="e", rules=rules, models=LISTED, now=database.now(conn))


@pytest.fixture
def allowed(app: FastAPI, house: House) -> None:
    app.state.house = replace(house, allow_unknown_models=True)


async def by_id(client: httpx2.AsyncClient) -> dict[str, Any]:
    return {model["id"]: model for model in (await client.get("/v1/models")).json()["data"]}


async def test_models__availability_is_unknown_before_the_first_list(client: httpx2.AsyncClient) -> None:
    found = await by_id(client)
    assert {model["available"] for model in found.values()} == {None}
    assert {model["known"] for model in found.values()} == {True}


@pytest.mark.usefixtures("listed")
async def test_models__are_available_by_id_or_alias(client: httpx2.AsyncClient) -> None:
    found = await by_id(client)
    assert (found[MODEL]["available"], found[MODEL]["aliases"]) == (True, ["google/veo2/image-to-video"])
    assert (found["veo2"]["available"], found["veo2"]["aliases"]) == (True, [])
    assert found["luma/ray-2"]["available"] is False
    assert "acme/brand-new" not in found
    assert (await client.get("/v1/models/google/veo2/image-to-video")).json() == found[MODEL]


@pytest.mark.usefixtures("listed")
async def test_create__takes_a_model_by_its_other_name(client: httpx2.AsyncClient) -> None:
    made = await client.post("/v1/jobs", json={"model": "google/veo2/image-to-video", "input": INPUT})
    assert (made.status_code, made.json()["model"]) == (201, MODEL)


@pytest.mark.usefixtures("listed")
async def test_create__refuses_a_new_model_and_names_the_setting(client: httpx2.AsyncClient) -> None:
    for name in ("acme/brand-new", "acme/new"):
        refused = await client.post("/v1/jobs", json={"model": name, "input": {"prompt": "x"}})
        error = require_error(refused, 400, code="unknown_model", param="model")
        assert "REELAY_ALLOW_UNKNOWN_MODELS=true" in error["message"]
    missing = await client.get("/v1/models/acme/new")
    assert "REELAY_ALLOW_UNKNOWN_MODELS" in require_error(missing, 404, code="unknown_model")["message"]


@pytest.mark.usefixtures("allowed", "listed")
async def test_create__passes_a_new_model_on_unchecked_where_that_is_allowed(client: httpx2.AsyncClient) -> None:
    shown = (await by_id(client))["acme/brand-new"]
    assert (shown["known"], shown["available"], shown["input_schema"]) == (False, True, None)
    assert (shown["owned_by"], shown["aliases"], shown["pricing"]) == ("Acme", ["acme/new"], RULE)
    given = {"prompt": "x", "mood": {"deep": [1, None]}, "duration": 4}
    made = await client.post("/v1/jobs", json={"model": "acme/new", "input": given})
    job = made.json()
    assert (made.status_code, job["model"], job["input"]) == (201, "acme/brand-new", given)
    assert (job["cost"]["estimated_usd"], job["cost"]["basis"]) == (None, None)
    error = require_error(await client.post("/v1/jobs", json={"model": "acme/nwe", "input": {}}), 400)
    assert "'acme/new'" in error["message"]


@pytest.mark.usefixtures("allowed", "listed")
async def test_create__takes_files_for_a_new_model_and_caps_its_input(client: httpx2.AsyncClient) -> None:
    parts = {"model": "acme/new", "prompt": "x", "tag": ["a", "b"]}
    made = await client.post("/v1/jobs", data=parts, files={"film": ("a.mp4", clip(), "video/mp4")})
    assert made.status_code == 201, made.text
    given = made.json()["input"]
    assert given.pop("film").startswith("file_")
    assert given == {"prompt": "x", "tag": ["a", "b"]}
    huge = {"model": "acme/new", "input": {"prompt": "x" * 300_000}}
    require_error(await client.post("/v1/jobs", json=huge), 400, code="input_too_large", param="input")


@pytest.mark.usefixtures("allowed", "listed")
async def test_retry__of_a_new_model_needs_the_setting(client: httpx2.AsyncClient, app: FastAPI, house: House) -> None:
    job = (await client.post("/v1/jobs", json={"model": "acme/new", "input": {"prompt": "x"}})).json()["id"]
    assert (await client.post(f"/v1/jobs/{job}/cancel")).status_code == 200
    app.state.house = house
    require_error(await client.post(f"/v1/jobs/{job}/retry"), 409, code="model_gone")
    app.state.house = replace(house, allow_unknown_models=True)
    again = await client.post(f"/v1/jobs/{job}/retry")
    assert (again.status_code, again.json()["model"]) == (201, "acme/brand-new")


@pytest.mark.usefixtures("allowed", "listed")
async def test_estimate__of_a_new_model_trusts_no_parameter(client: httpx2.AsyncClient, database: Database) -> None:
    job = {"model": "acme/new", "input": {"prompt": "x", "duration": "0.001"}}
    quoted = (await client.post("/v1/jobs/estimate", json=job)).json()["cost"]
    assert (quoted["estimated_usd"], quoted["basis"], quoted["reserved_usd"]) == (None, "unknown", 5.0)
    assert (await client.post("/v1/jobs", json=job)).status_code == 201
    with database.transaction() as conn:
        assert conn.execute(sa.text("SELECT reserved_micros FROM jobs")).scalar_one() == 5_000_000
    capped = await client.post("/v1/jobs", json=job | {"max_cost_usd": 0.01})
    require_error(capped, 400, code="price_unknown", param="max_cost_usd")


@pytest.mark.usefixtures("allowed", "listed")
@pytest.mark.parametrize("name", ["max_cost_usd", "priority", "on_unconfirmed", "metadata", "start_within_seconds"])
@pytest.mark.parametrize("model", ["acme/new", "veo2"])
async def test_generation__takes_no_field_of_ours_as_a_parameter(
    client: httpx2.AsyncClient, model: str, name: str
) -> None:
    refused = await client.post("/v2/video/generations", json={"model": model, "prompt": "x", name: 1})
    assert refused.status_code == 400
    assert f"{name!r} is no parameter of a model and is not taken here." in refused.json()["message"]


@pytest.mark.usefixtures("allowed", "listed")
@pytest.mark.parametrize("prompt", ["data:image/png;base64,AAAA", "DATA:text/plain,x", "file_1", "attached:0"])
async def test_remix__of_a_new_model_takes_words_only(client: httpx2.AsyncClient, prompt: str) -> None:
    video = (await client.post("/v1/videos", json={"model": "acme/new", "prompt": "x"})).json()["id"]
    remix = f"/v1/videos/{video}/remix"
    require_error(await client.post(remix, json={"prompt": prompt}), 400, code="invalid_input", param="prompt")
    assert (await client.post(remix, json={"prompt": "data: a film"})).status_code == 200
