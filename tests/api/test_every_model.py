"""Every model of the catalogue, at the front door and upstream: what is right is taken, what is wrong is named."""

import json
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette

from app.api import routes
from app.catalogue.catalogue import Model
from app.db.engine import Database
from app.sandbox import SandboxConfig, create_app
from tests.api.conftest import CATALOGUE, house_of, require_error
from tests.factories import make_caller
from tests.inputs import least, most, wrong

SUBMIT = "/v2/video/generations"
every_model = pytest.mark.parametrize("model", CATALOGUE.models.values(), ids=list(CATALOGUE.models))


@pytest.fixture(scope="module")
def opened(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str]]:
    """One application for all models, and a key."""
    folder = tmp_path_factory.mktemp("every-model")
    shutil.copyfile(sqlite_template, folder / "reelay.db")
    database = Database(f"sqlite:///{folder / 'reelay.db'}")
    yield routes.build(house_of(database, folder / "storage")), make_caller(database)[1]
    database.close()


@pytest.fixture
async def door(opened: tuple[Any, str]) -> AsyncIterator[httpx2.AsyncClient]:
    app, secret = opened
    async with client_of(app, secret) as client:
        yield client


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starlette]:
    config = SandboxConfig(data_dir=tmp_path_factory.mktemp("box"), max_in_flight=10_000, balance_usd=1e6)
    app = create_app(config, CATALOGUE)
    yield app
    app.state.sandbox.close()


@pytest.fixture
async def upstream(sandbox: Starlette) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(sandbox, "sandbox-key") as client:
        yield client


def client_of(app: Any, key: str) -> httpx2.AsyncClient:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="https://reelay.test", headers=headers)


def form_of(given: dict[str, Any]) -> list[tuple[str, tuple[None, str]]]:
    """Return the input as a form has it: all text, lists as several parts, objects as JSON."""
    parts = [(name, value) for name, held in given.items() for value in (held if isinstance(held, list) else [held])]
    return [(name, (None, value if isinstance(value, str) else json.dumps(value))) for name, value in parts]


@every_model
async def test_create__takes_the_least_and_the_most(door: httpx2.AsyncClient, model: Model) -> None:
    for given in (least(model), most(model)):
        made = await door.post("/v1/jobs", json={"model": model.id, "input": given})
        assert made.status_code == 201, made.text
        assert made.json()["input"] == given
        again = await door.post("/v1/jobs", files=[("model", (None, model.id)), *form_of(given)])
        assert again.status_code == 201, again.text
        assert again.json()["input"] == given


@every_model
async def test_create__names_the_field_of_every_violation(door: httpx2.AsyncClient, model: Model) -> None:
    for constraint, param, given in wrong(model):
        refused = await door.post("/v1/jobs", json={"model": model.id, "input": given})
        error = require_error(refused, 400)
        assert error["param"] == param, (constraint, error)
        assert error["code"] in ("invalid_input", "unknown_parameter"), (constraint, error)
        assert [part for part in param.split(".") if not part.isdecimal()][-1] in error["message"], error


@every_model
async def test_sandbox__sells_what_we_take_and_refuses_what_we_refuse(
    upstream: httpx2.AsyncClient, model: Model
) -> None:
    for given in (least(model), most(model)):
        sold = await upstream.post(SUBMIT, json={"model": model.id} | given)
        assert sold.status_code in (200, 201), sold.text
        assert sold.json().get("id") or sold.json()["generation_id"]
    for constraint, _, given in wrong(model):
        refused = await upstream.post(SUBMIT, json={"model": model.id} | given)
        assert refused.status_code == 400, constraint
        assert refused.json().keys() == {"message", "path", "requestId", "statusCode", "timestamp"}
        assert refused.json()["message"].startswith("Body validation error"), constraint


def test_catalogue__every_model_has_something_that_can_be_wrong() -> None:
    constraints = {
        constraint.rpartition(" ")[2] for model in CATALOGUE.models.values() for constraint, *_ in wrong(model)
    }
    assert {"enum", "minimum", "maximum", "type", "maxLength", "minLength", "maxItems", "minItems"} <= constraints
    assert {"required", "unknown", "link", "union", "text"} <= constraints
    assert len(CATALOGUE.models) >= 143
    assert all(len(list(wrong(model))) >= 5 for model in CATALOGUE.models.values())
