"""/metrics: who may read it, that it tells of requests and of the deployment, and of nobody's names or texts."""

from dataclasses import replace

import httpx2
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from app.api import routes
from app.api.callers import Caller
from app.api.deps import House
from app.api.remembered import Remembered
from app.db.engine import Database
from app.domain.secrets import Scope
from app.domain.states import JobState
from app.metrics import REGISTRY
from tests.api.conftest import ClientFor, Ticks, require_error
from tests.factories import make_caller, make_job

TOKEN = "0123456789abcdef" * 4


@pytest.fixture
def database_kind() -> str:
    """The figures have their tests on both databases."""
    return "sqlite"


@pytest.fixture
def operator(database: Database, client_for: ClientFor) -> httpx2.AsyncClient:
    return client_for(make_caller(database, project="operations", scopes=frozenset({Scope.ADMIN}))[1])


async def scraped(client: httpx2.AsyncClient) -> dict[str, dict[tuple[str, ...], float]]:
    """Return each sample by its name and the values of its labels, in the order of their names."""
    answer = await client.get("/metrics")
    assert answer.status_code == 200, answer.text
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


async def test_metrics__open_to_their_token_alone(house: House, app: FastAPI, client_for: ClientFor) -> None:
    app.state.house = replace(house, metrics_token=TOKEN)
    answer = await client_for(TOKEN).get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["cache-control"] == "no-store"
    for secret in (None, TOKEN[:-1], "ü"):
        headers = httpx2.Headers({} if secret is None else {"Authorization": f"Bearer {secret}"}, encoding="utf-8")
        require_error(await client_for().get("/metrics", headers=headers), 401)
    require_error(await client_for(TOKEN).get("/v1/admin/jobs"), 401)


async def test_metrics__tell_of_the_deployment_and_name_nobody(
    operator: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    job = make_job(database, me, state=JobState.UNCONFIRMED, estimated_micros=2_500_000)
    make_job(database, me, state=JobState.FAILED)
    seen = await scraped(operator)
    assert seen["reelay_jobs"] == {(job.model, "unconfirmed"): 1}
    assert seen["reelay_jobs_ended_lately"] == {(job.model, "failed"): 1}
    assert seen["reelay_unconfirmed_usd"] == {(): 2.5}
    assert seen["reelay_database_up"] == {(): 1}
    text = (await operator.get("/metrics")).text
    assert not [name for name in (me.project.name, me.project.id, me.key.id, job.id, "Mona Lisa") if name in text]


async def test_metrics__count_requests_by_route(operator: httpx2.AsyncClient, client: httpx2.AsyncClient) -> None:
    def counted(*labels: str) -> float:
        names = ("method", "route", "status")
        return REGISTRY.get_sample_value("reelay_http_requests_total", dict(zip(names, labels, strict=True))) or 0

    def timed(route: str) -> float:
        labels = {"method": "GET", "route": route}
        return REGISTRY.get_sample_value("reelay_http_answer_seconds_count", labels) or 0

    route, nowhere = "/v1/jobs/{job_id}", ("other", "none", "404")
    before = counted("GET", route, "404"), timed(route), counted(*nowhere)
    for path in ("/v1/jobs/job_1", "/v1/jobs/job_2", "/v1/jobs/job_3?wait=1"):
        await client.get(path)
    await client.request("BREW", "/coffee")
    after = counted("GET", route, "404"), timed(route), counted(*nowhere)
    assert [now - then for now, then in zip(after, before, strict=True)] == [3, 2, 1]


async def test_metrics__are_read_once_for_many_scrapes(
    operator: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    await scraped(operator)
    make_job(database, me)
    assert "reelay_jobs" not in await scraped(operator)


async def test_metrics__tell_that_the_database_is_away(
    house: House, app: FastAPI, client_for: ClientFor, database: Database
) -> None:
    app.state.house = replace(house, metrics_token=TOKEN)
    with database.transaction() as conn:
        conn.exec_driver_sql("DROP TABLE log_reader")
    seen = await scraped(client_for(TOKEN))
    assert seen["reelay_database_up"] == {(): 0}
    assert "process_cpu_seconds_total" in seen and "reelay_parked_jobs" not in seen


async def test_side_doors__show_metrics_and_health_alone(house: House, client_for: ClientFor) -> None:
    client = client_for(TOKEN, app=routes.build(replace(house, metrics_token=TOKEN), doors=routes.SIDE_DOORS))
    statuses = [(await client.get(path)).status_code for path in ("/metrics", "/healthz", "/readyz", "/v1/jobs", "/")]
    assert statuses == [200, 200, 200, 404, 404]


async def test_remembered__is_kept_for_longer_where_loading_takes_long() -> None:
    clock, loads = Ticks(), list[float]()
    kept = Remembered[float](5.0, share=0.05, clock=clock)

    async def load() -> float:
        clock.seconds += 2.0
        loads.append(clock.seconds)
        return clock.seconds

    for pause in (0.0, 39.0, 2.0):
        clock.seconds += pause
        await kept.get(load)
    assert loads == [2.0, 45.0]
