"""What a job would cost and when it would be done: checked like a real one, and nothing is left of it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.api.callers import Caller
from app.db import deployment, durations, files, gate
from app.db.engine import Database
from app.domain.job import File
from app.domain.secrets import Scope
from tests.api.conftest import ClientFor, count, data_uri, require_error, stored
from tests.conftest import one_database
from tests.factories import INPUT, MODEL, make_caller, make_job, picture

RULE = {"kind": "fixed", "units": [{"price": "0.5", "unit": "second", "per": "1"}]}


@pytest.fixture(autouse=True)
def _prices(database: Database) -> None:
    with database.transaction() as conn:
        deployment.save_prices(conn, etag="e", rules={MODEL: RULE}, now=database.now(conn))
        durations.observe(conn, MODEL, {}, 40.0)


async def estimate(client: httpx2.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post("/v1/jobs/estimate", json={"input": INPUT} | body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_estimate__prices_and_stores_nothing(
    client: httpx2.AsyncClient, database: Database, storage: Path
) -> None:
    body = {"prompt": "p", "image_url": data_uri(picture()), "duration": 7}
    assert await estimate(client, input=body) == {
        "valid": True,
        "cost": {"estimated_usd": 3.5, "basis": "price_list", "reserved_usd": 3.5, "assumption": None},
        "eta_seconds": 40,
        "queue_depth": 0,
    }
    assert (count(database, "jobs"), count(database, "files"), stored(storage)) == (0, 0, [])


async def test_estimate__takes_a_form(client: httpx2.AsyncClient, database: Database, storage: Path) -> None:
    answer = await client.post(
        "/v1/jobs/estimate", data={"prompt": "p", "duration": "6"}, files={"image": ("x.jpg", picture())}
    )
    assert answer.json()["cost"]["estimated_usd"] == 3.0
    assert (count(database, "jobs"), stored(storage)) == (0, [])


@one_database
async def test_estimate__is_not_valid_above_the_limit(client: httpx2.AsyncClient) -> None:
    assert (await estimate(client, max_cost_usd=2.5))["valid"] is True
    above = await estimate(client, max_cost_usd=2.499999)
    assert (above["valid"], above["cost"]["estimated_usd"]) == (False, 2.5)


@one_database
async def test_estimate__an_unknown_price_is_said_and_passes_no_limit(client: httpx2.AsyncClient) -> None:
    body = {"model": "veo2", "input": {"prompt": "A boat"}}
    found = await estimate(client, **body)
    assert found["valid"]
    unknown = {"estimated_usd": None, "basis": "unknown", "reserved_usd": 5.0, "assumption": None}
    assert found["cost"] == unknown
    assert (await estimate(client, **body, max_cost_usd=9.0))["valid"] is False


@one_database
@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"input": INPUT | {"duration": 99}}, "input.duration"),
        ({"input": {"prompt": "p"}}, "input.image_url"),
        ({"input": INPUT | {"image_url": data_uri(b"no image")}}, "input.image_url"),
        ({"input": INPUT | {"image_url": "file_unknown"}}, "input.image_url"),
        ({"webhook": 1}, "webhook"),
    ],
)
async def test_estimate__refuses_what_create_refuses(
    client: httpx2.AsyncClient, given: dict[str, Any], param: str
) -> None:
    body = {"input": INPUT} | given
    refused = require_error(await client.post("/v1/jobs/estimate", json=body), 400, param=param)
    assert require_error(await client.post("/v1/jobs", json=body), 400, param=param)["code"] == refused["code"]


async def test_estimate__takes_a_file_of_the_callers_and_keeps_it_no_longer(
    client: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    with database.transaction() as conn:
        now = database.now(conn)
        values: dict[str, Any] = {"content_type": "image/jpeg", "sha256": "0" * 64, "storage_key": "files/1.jpg"}
        sizes = {"size_bytes": 1, "width": 1, "height": 1}
        until = now + timedelta(hours=1)
        times = {"created_at": now, "expires_at": until}
        files.insert(conn, File(id="file_1", project_id=me.project.id, subject=None, **values, **sizes, **times))
    assert (await estimate(client, input=INPUT | {"image_url": "file_1"}))["valid"] is True
    with database.transaction() as conn:
        kept = files.get_many(conn, ["file_1"], project_id=me.project.id, subject=None)
    assert kept["file_1"].expires_at == until


async def test_estimate__waits_for_those_before_it(
    client: httpx2.AsyncClient, client_for: ClientFor, database: Database, me: Caller
) -> None:
    for _ in range(12):
        make_job(database, me)
    _, other = make_caller(database, project="other")
    behind = await estimate(client)
    assert (behind["queue_depth"], behind["eta_seconds"]) == (12, 80)
    first = await estimate(client, priority="high")
    assert (first["queue_depth"], first["eta_seconds"]) == (0, 40)
    elsewhere = await estimate(client_for(other))
    assert (elsewhere["queue_depth"], elsewhere["eta_seconds"]) == (0, 40)


async def test_estimate__nobody_knows_when_while_submissions_are_held(
    client: httpx2.AsyncClient, database: Database
) -> None:
    with database.transaction() as conn:
        now = database.now(conn)
        gate.hold(conn, now=now, until=now + timedelta(minutes=1), reason="upstream_key_refused")
    assert (await estimate(client))["eta_seconds"] is None


@one_database
async def test_estimate__needs_the_right_to_create(client_for: ClientFor, database: Database) -> None:
    _, reader = make_caller(database, scopes=frozenset({Scope.JOBS_READ}))
    refused = await client_for(reader).post("/v1/jobs/estimate", json={"input": INPUT})
    require_error(refused, 403, code="missing_scope")
