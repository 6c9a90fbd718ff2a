"""Models, health, and what is true of every answer."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog
from fastapi import FastAPI

from app.api import routes
from app.api.callers import Caller
from app.api.deps import House
from app.api.remembered import Remembered
from app.db import deployment, durations, gate, schema
from app.db.engine import Database
from app.domain.errors import RateLimited
from app.domain.states import JobState
from tests.api.conftest import CATALOGUE, ClientFor, Ticks, require_error
from tests.conftest import Clock, one_database
from tests.factories import MODEL, make_job


async def test_models__are_listed_in_openais_shape(
    client: httpx2.AsyncClient, database: Database, house: House
) -> None:
    rule = {"kind": "fixed", "units": [{"price": "0.5", "unit": "second", "per": "1"}]}
    with database.transaction() as conn:
        deployment.save_prices(conn, etag="e", rules={MODEL: rule}, now=database.now(conn))
        durations.observe(conn, MODEL, {}, 42.0)
    listed = (await client.get("/v1/models")).json()
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == list(CATALOGUE.models)
    by_id = {model["id"]: model for model in listed["data"]}
    veo = by_id[MODEL]
    assert (veo["object"], veo["owned_by"], type(veo["created"])) == ("model", "Google", int)
    assert (veo["pricing"], veo["typical_seconds"]) == (rule, 42.0)
    assert veo["input_schema"]["required"] == ["prompt", "image_url"]
    assert veo["input_schema"]["additionalProperties"] is False
    assert (by_id["veo2"]["pricing"], by_id["veo2"]["typical_seconds"]) == (None, None)
    assert (await client.get(f"/v1/models/{MODEL}")).json() == veo


@one_database
async def test_models__ids_may_hold_slashes(client: httpx2.AsyncClient) -> None:
    deep = "klingai/v2.5-turbo/pro/image-to-video"
    assert (await client.get(f"/v1/models/{deep}")).json()["id"] == deep
    error = require_error(await client.get("/v1/models/veo2/image-to-vide"), 404, code="unknown_model")
    assert "veo2/image-to-video" in error["message"]
    require_error(await client.get("/v1/models/"), 404)
    require_error(await client.get("/v1/models?limit=5"), 400, param="limit")


async def test_prices__are_read_once_in_half_a_minute(
    client: httpx2.AsyncClient, database: Database, house: House
) -> None:
    """An empty list is not remembered: the first prices are seen at once."""
    ticks = house.prices._clock = Ticks()

    async def shown(rules: dict[str, object]) -> object:
        with database.transaction() as conn:
            deployment.save_prices(conn, etag=None, rules=rules, now=database.now(conn))
        return (await client.get(f"/v1/models/{MODEL}")).json()["pricing"]

    first, second = {"kind": "variable"}, {"kind": "fixed", "units": []}
    assert (await client.get(f"/v1/models/{MODEL}")).json()["pricing"] is None
    assert await shown({MODEL: first}) == first
    assert await shown({MODEL: second}) == first
    ticks.seconds += 30
    assert await shown({MODEL: second}) == second


async def test_healthz__answers_as_long_as_the_process_lives(client_for: ClientFor, database: Database) -> None:
    database.close()
    answer = await client_for().get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "mode": "sandbox"})
    assert (await client_for().head("/healthz")).status_code == 200


async def readiness(client_for: ClientFor, house: House) -> tuple[int, str, list[str]]:
    house.readiness._kept = None
    answer = await client_for().get("/readyz")
    body = answer.json()
    return answer.status_code, body["status"], body["reasons"]


async def test_readyz__says_what_is_wrong(
    client_for: ClientFor, database: Database, house: House, storage: Path, clock: Clock
) -> None:
    assert await readiness(client_for, house) == (200, "degraded", ["no_worker"])
    with database.transaction() as conn:
        deployment.beat(conn, "w1", now=database.now(conn))
    assert await readiness(client_for, house) == (200, "ready", [])
    with database.transaction() as conn:
        gate.hold(conn, now=database.now(conn), until=database.now(conn), reason="upstream_key_refused")
    assert await readiness(client_for, house) == (200, "degraded", ["submissions_held: upstream_key_refused"])
    with database.transaction() as conn:
        gate.open_again(conn)
    clock.move(seconds=59)
    assert await readiness(client_for, house) == (200, "ready", [])
    clock.move(seconds=2)
    assert await readiness(client_for, house) == (200, "degraded", ["no_worker"])
    (storage / "checks").rmdir()
    (storage / "checks").write_text("a file where a folder belongs")
    assert await readiness(client_for, house) == (503, "unavailable", ["storage_unavailable"])


async def test_readyz__without_its_database_is_unavailable(
    client_for: ClientFor, database: Database, house: House, migrated_url: str
) -> None:
    broken = Database("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    object.__setattr__(house, "db", broken)
    assert await readiness(client_for, house) == (503, "unavailable", ["database_unavailable"])
    broken.close()


async def test_readyz__an_older_schema_is_unavailable(client_for: ClientFor, database: Database, house: House) -> None:
    with database.transaction() as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = 'zzzz'")
    assert (await readiness(client_for, house))[0] == 200  # one unknown here is newer
    with database.transaction() as conn:
        conn.exec_driver_sql("DELETE FROM alembic_version")
    assert await readiness(client_for, house) == (503, "unavailable", ["schema_outdated"])
    with database.transaction() as conn:
        conn.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{schema.head()}')")


async def test_readyz__is_looked_at_once_a_second(client_for: ClientFor, house: House, storage: Path) -> None:
    ticks = house.readiness._clock = Ticks()
    assert (await client_for().get("/readyz")).status_code == 200
    (storage / "checks").rmdir()
    (storage / "checks").write_text("a file where a folder belongs")
    assert (await client_for().get("/readyz")).status_code == 200
    ticks.seconds += 1
    assert (await client_for().get("/readyz")).status_code == 503


async def test_remembered__keeps_no_failure() -> None:
    remembered: Remembered[int] = Remembered(10.0)

    async def fail() -> int:
        raise RateLimited("later")

    async def succeed() -> int:
        return 5

    with pytest.raises(RateLimited):
        await remembered.get(fail)
    assert await remembered.get(succeed) == 5
    assert await remembered.get(fail) == 5


@one_database
@pytest.mark.parametrize("given", ["a-Z_0:9.x", "x" * 128])
async def test_request_id__of_the_caller_is_kept(client: httpx2.AsyncClient, given: str) -> None:
    for path in ("/v1/jobs", "/healthz", "/nowhere"):
        assert (await client.get(path, headers={"X-Request-Id": given})).headers["x-request-id"] == given


@one_database
@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "<script>", "ü"])
async def test_request_id__that_is_odd_is_replaced(client: httpx2.AsyncClient, given: str) -> None:
    answer = await client.get("/nowhere", headers={"X-Request-Id": given.encode()})
    assert answer.headers["x-request-id"].startswith("req_")
    assert require_error(answer, 404)["request_id"] == answer.headers["x-request-id"]


@one_database
async def test_every_answer__has_security_headers(client: httpx2.AsyncClient) -> None:
    for path in ("/v1/jobs", "/healthz", "/nowhere", "/openapi.json", "/", "/docs", "/web/docs.js", f"/{'x' * 9000}"):
        answer = await client.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; ")


@one_database
@pytest.mark.parametrize("path", ["/v1", "/v1/jobs/", "/v2/jobs", "/docs/", "/redoc", "/v1/jobs/x/y", "//v1/jobs"])
async def test_unknown_address__is_404(client: httpx2.AsyncClient, path: str) -> None:
    answer = await client.get(f"https://reelay.test{path}")
    assert require_error(answer, 404)["type"] == "not_found_error"
    assert answer.headers["x-should-retry"] == "false"


@one_database
@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/jobs", "GET, POST"),
        ("PATCH", "/v1/jobs/x", "GET, DELETE"),
        ("POST", "/v1/jobs/x/content", "GET, HEAD"),
        ("GET", "/v1/jobs/x/cancel", "POST"),
        ("BREW", "/healthz", "GET, HEAD"),
    ],
)
async def test_wrong_method__is_405_and_says_which_are_right(
    client: httpx2.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await client.request(method, path)
    require_error(answer, 405, code="method_not_allowed")
    assert answer.headers["allow"] == allowed


@one_database
async def test_long_urls__are_refused(client: httpx2.AsyncClient) -> None:
    require_error(await client.get(f"/v1/jobs?after={'x' * 9000}"), 400, code="url_too_long")
    require_error(await client.get("/" + "x" * 9000), 400, code="url_too_long")


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """What is logged meanwhile."""
    before = structlog.get_config()
    captured: list[dict[str, Any]] = []

    def capture(logger: Any, method: str, line: dict[str, Any]) -> str:
        captured.append(line)
        raise structlog.DropEvent

    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, capture],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=False,
    )
    yield captured
    structlog.configure(**before)


@one_database
async def test_access_line__tells_no_secret(
    client: httpx2.AsyncClient, database: Database, me: Caller, lines: list[dict[str, Any]]
) -> None:
    job = make_job(database, me, state=JobState.SUCCEEDED)
    url = (await client.get(f"/v1/jobs/{job.id}", headers={"X-Request-Id": "r1"})).json()["video"]["url"]
    await client.get(url)
    await client.get("/healthz")
    await client.get("/v1/%0Ainvented")
    first, second, third = (line for line in lines if line["event"] == "request_served")
    assert first | {"duration_ms": 0} == {
        "event": "request_served",
        "route": "/v1/jobs/{job_id}",
        "job_id": job.id,
        "method": "GET",
        "path": f"/v1/jobs/{job.id}",
        "status": 200,
        "duration_ms": 0,
        "request_id": "r1",
    }
    assert third["path"] == "/v1/%0Ainvented"
    assert "signature" not in str(second) and "rly_" not in str(lines)


class Exploding(Database):
    async def read(self, work: Any) -> Any:
        raise RuntimeError("a secret detail")


async def test_unexpected_failure__is_a_500_without_details(
    house: House, client_for: ClientFor, migrated_url: str, lines: list[dict[str, Any]], caller: tuple[Caller, str]
) -> None:
    broken = Exploding(migrated_url)
    object.__setattr__(house, "db", broken)
    answer = await client_for(caller[1]).get("/v1/jobs", headers={"X-Request-Id": "r1"})
    error = require_error(answer, 500, code="server_error")
    assert "secret detail" not in answer.text and error["request_id"] == "r1"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "x-should-retry" not in answer.headers
    [failure] = [line for line in lines if line["event"] == "request_failed"]
    assert failure["request_id"] == "r1" and failure["exc_info"]
    broken.close()


async def test_build__runs_the_lifespan(house: House) -> None:
    told: list[str] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        told.append("opened")
        yield
        told.append("closed")

    app = routes.build(house, lifespan=lifespan)
    async with app.router.lifespan_context(app):
        assert told == ["opened"]
    assert told == ["opened", "closed"]
