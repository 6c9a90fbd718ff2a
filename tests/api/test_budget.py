"""Budgets and rates at the front door: what fits is made, exactly; the rest hears why and when."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from sqlalchemy import event

from app.api.callers import Caller
from app.api.deps import House
from app.api.rates import MOST_KEPT, Limit, Rates
from app.db import access, deployment, jobs, ledger, tokens
from app.db.engine import Database
from app.db.tables import events
from app.db.tables import jobs as jobs_table
from app.domain.errors import RateLimited
from app.domain.states import JobState
from tests.api.conftest import ClientFor, Ticks, count, require_error
from tests.conftest import Clock, one_database
from tests.factories import INPUT, MODEL, lead, make_caller

PRICE = {MODEL: {"kind": "fixed", "units": [{"measure": "video", "price": "2.5", "per": "1"}]}}
PRICE_MICROS = 2_500_000
BODY = {"model": MODEL, "input": INPUT}


@pytest.fixture(autouse=True)
def _priced(database: Database) -> None:
    with database.transaction() as conn:
        deployment.save_prices(conn, etag=None, rules=PRICE, now=database.now(conn))


def limit(database: Database, **limits: int | None) -> None:
    with database.transaction() as conn:
        access.limit_project(conn, "films", **limits)


def month(database: Database, me: Caller) -> ledger.Month:
    with database.transaction() as conn:
        return ledger.read_month(conn, me.project.id, database.now(conn))


async def test_budget__two_hundred_posts_make_what_fits(
    client: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    limit(database, monthly_budget_micros=20 * PRICE_MICROS + PRICE_MICROS // 2)

    async def post(n: int) -> httpx2.Response:
        return await client.post("/v1/jobs", json=BODY | {"metadata": {"n": str(n)}})

    answers = await asyncio.gather(*(post(n) for n in range(200)))
    made = [answer for answer in answers if answer.status_code == 201]
    assert (len(made), count(database, "jobs")) == (20, 20)
    for answer in answers:
        if answer not in made:
            require_error(answer, 429, code="insufficient_quota")
    assert month(database, me).reserved_micros == 20 * PRICE_MICROS


async def test_budget__of_each_project_is_its_own_where_jobs_are_written_together(
    client_for: ClientFor, database: Database
) -> None:
    fitting = {"films": 3, "others": 9, "more": 16}
    callers = {name: make_caller(database, project=name) for name in fitting}
    with database.transaction() as conn:
        for name, most in fitting.items():
            access.limit_project(conn, name, monthly_budget_micros=most * PRICE_MICROS)
    clients = {name: client_for(secret) for name, (_, secret) in callers.items()}
    sent = {f"{name}-{n}": clients[name] for n in range(16) for name in fitting}
    ids = list(sent)
    asked = (sent[i].post("/v1/jobs", json=BODY, headers={"X-Request-Id": i}) for i in ids)
    answers = dict(zip(ids, await asyncio.gather(*asked), strict=True))
    made = [i for i, answer in answers.items() if answer.status_code == 201]
    assert {name: sum(i.startswith(name) for i in made) for name in fitting} == fitting
    for name, (owner, _) in callers.items():
        assert month(database, owner).reserved_micros == fitting[name] * PRICE_MICROS
    with database.transaction() as conn:
        acted = {row.job_id: row.actor for row in conn.execute(sa.select(events.c.job_id, events.c.actor))}
    for i in made:
        actor = acted[answers[i].json()["id"]]
        assert (actor["request_id"], actor["key_id"]) == (i, callers[i.partition("-")[0]][0].key.id)


async def test_budget__says_what_is_left_and_when_to_come_again(
    client: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    limit(database, monthly_budget_micros=PRICE_MICROS + 1)
    assert (await client.post("/v1/jobs", json=BODY)).status_code == 201
    answer = await client.post("/v1/jobs", json=BODY)
    error = require_error(answer, 429, code="insufficient_quota")
    assert error["type"] == "insufficient_quota"
    assert "2.500001 USD" in error["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert 1 <= int(answer.headers["retry-after"]) <= 31 * 86_400
    assert count(database, "creations") == 1


@pytest.mark.parametrize("budget", [None, 100 * PRICE_MICROS])
async def test_create__spends_one_statement_on_the_budget(
    client: httpx2.AsyncClient, database: Database, me: Caller, budget: int | None
) -> None:
    limit(database, monthly_budget_micros=budget)
    seen: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
    assert (await client.post("/v1/jobs", json=BODY)).status_code == 201
    assert sum("months" in statement for statement in seen) == 1
    assert not any("ledger" in statement for statement in seen)


@one_database
async def test_budget__of_the_next_month_is_whole_again(
    client: httpx2.AsyncClient, database: Database, clock: Clock, me: Caller
) -> None:
    limit(database, monthly_budget_micros=PRICE_MICROS)
    assert (await client.post("/v1/jobs", json=BODY)).status_code == 201
    assert (await client.post("/v1/jobs", json=BODY)).status_code == 429
    clock.move(days=32)
    assert (await client.post("/v1/jobs", json=BODY)).status_code == 201


@one_database
async def test_budget__a_canceled_job_makes_room(client: httpx2.AsyncClient, database: Database, me: Caller) -> None:
    limit(database, monthly_budget_micros=PRICE_MICROS)
    job = (await client.post("/v1/jobs", json=BODY)).json()
    assert job["cost"]["reserved_usd"] == 2.5
    canceled = (await client.post(f"/v1/jobs/{job['id']}/cancel")).json()
    assert canceled["cost"]["reserved_usd"] == 0
    assert (await client.post("/v1/jobs", json=BODY)).status_code == 201


@one_database
async def test_budget__a_replay_needs_no_room(client: httpx2.AsyncClient, database: Database, me: Caller) -> None:
    limit(database, monthly_budget_micros=PRICE_MICROS)
    first = await client.post("/v1/jobs", json=BODY, headers={"Idempotency-Key": "k"})
    again = await client.post("/v1/jobs", json=BODY, headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.content) == (201, first.content)
    assert month(database, me).reserved_micros == PRICE_MICROS


async def test_retry__reserves_anew_within_the_budget(
    client: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    limit(database, monthly_budget_micros=2 * PRICE_MICROS)
    made = (await client.post("/v1/jobs", json=BODY)).json()
    await client.post("/v1/jobs", json=BODY)
    with database.transaction() as conn:
        job = jobs.get(conn, made["id"], owner=me.owner)
        for to in (JobState.SUBMITTING, JobState.GENERATING, JobState.FAILED):
            job = lead(conn, database, job, to=to)
    assert (await client.post(f"/v1/jobs/{job.id}/retry")).status_code == 201
    assert month(database, me).reserved_micros == 2 * PRICE_MICROS
    with database.transaction() as conn:
        job = jobs.get(conn, job.id, owner=me.owner)
        conn.execute(jobs_table.update().where(jobs_table.c.retried_from == job.id).values(retried_from=None))
    require_error(await client.post(f"/v1/jobs/{job.id}/retry"), 429, code="insufficient_quota")


@one_database
async def test_unknown_price__reserves_the_default_and_says_so(
    client: httpx2.AsyncClient, database: Database, house: House, me: Caller
) -> None:
    with database.transaction() as conn:
        deployment.save_prices(conn, etag=None, rules={MODEL: {"kind": "variable"}}, now=database.now(conn))
    limit(database, monthly_budget_micros=5_000_000)
    made = await client.post("/v1/jobs", json=BODY)
    assert made.json()["cost"] == {
        "estimated_usd": None,
        "charged_usd": None,
        "basis": None,
        "reserved_usd": 5.0,
        "settled": False,
    }
    assert (await client.post("/v1/jobs", json=BODY)).status_code == 429


@one_database
async def test_own_price__goes_before_the_list(client_for: ClientFor, database: Database, house: House) -> None:
    _, secret = make_caller(database)
    own = {MODEL: {"kind": "fixed", "units": [{"measure": "video", "price": "1.25", "per": "1"}]}}
    object.__setattr__(house, "own_prices", own)
    answer = await client_for(secret).post("/v1/jobs", json=BODY)
    assert answer.json()["cost"]["estimated_usd"] == 1.25
    listed = (await client_for(secret).get(f"/v1/models/{MODEL}")).json()
    assert listed["pricing"] == own[MODEL]


@one_database
@pytest.mark.parametrize("absurd", [-1, 0, -0.0, 1e-9, 1e308, 10_001, "3", True, [], {}])
async def test_max_cost__absurd_ones_are_refused(client: httpx2.AsyncClient, database: Database, absurd: Any) -> None:
    answer = await client.post("/v1/jobs", json=BODY | {"max_cost_usd": absurd})
    require_error(answer, 400, param="max_cost_usd")
    assert count(database, "jobs") == 0


@one_database
@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
async def test_max_cost__what_is_no_number_is_refused(client: httpx2.AsyncClient, text: str) -> None:
    raw = f'{{"model": "{MODEL}", "input": {{}}, "max_cost_usd": {text}}}'
    answer = await client.post("/v1/jobs", content=raw, headers={"content-type": "application/json"})
    require_error(answer, 400)


async def test_usage__shows_the_month(client: httpx2.AsyncClient, database: Database, me: Caller) -> None:
    limit(database, monthly_budget_micros=10_000_000)
    job = (await client.post("/v1/jobs", json=BODY)).json()
    await client.post("/v1/jobs", json=BODY)
    with database.transaction() as conn:
        queued = jobs.get(conn, job["id"], owner=me.owner)
        charged = {"charged_micros": 3_000_000, "charge_basis": "reported", "settled": True}
        jobs.note(conn, queued, type="job.settled", now=database.now(conn), data={}, **charged)
    shown = (await client.get("/v1/usage")).json()["month"]
    assert shown == {
        "month": f"{datetime.now(UTC):%Y-%m}",
        "budget_usd": 10.0,
        "spent_usd": 3.0,
        "reserved_usd": 2.5,
        "remaining_usd": 4.5,
    }


@one_database
async def test_usage__hides_the_month_from_a_subject(client_for: ClientFor, database: Database) -> None:
    _, secret = make_caller(database, subject="ann")
    assert (await client_for(secret).get("/v1/usage")).json()["month"] is None


@one_database
async def test_rate__is_told_with_every_answer(client_for: ClientFor, database: Database, caller: Any) -> None:
    limit(database, requests_per_minute=2)
    client = client_for(caller[1])
    first = await client.get("/v1/jobs")
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    missing = await client.get("/v1/jobs/job_none")
    assert (missing.status_code, missing.headers["x-ratelimit-remaining-requests"]) == (404, "0")
    refused = await client.get("/v1/jobs")
    error = require_error(refused, 429, code="too_many_requests")
    assert error["type"] == "rate_limit_error"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert re.fullmatch(r"\d+s", refused.headers["x-ratelimit-reset-requests"])
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert "x-should-retry" not in refused.headers


@one_database
async def test_rate__comes_before_the_body(client_for: ClientFor, database: Database, caller: Any) -> None:
    limit(database, requests_per_minute=1)
    client = client_for(caller[1])
    await client.get("/v1/jobs")
    asked: list[bool] = []

    async def body() -> Any:
        asked.append(True)
        yield b"{}"

    refused = await client.post("/v1/jobs", content=body(), headers={"content-type": "application/json"})
    require_error(refused, 429, code="too_many_requests")
    assert (refused.headers["connection"], asked) == ("close", [])


@one_database
async def test_rate__none_is_told_without_a_limit(client: httpx2.AsyncClient) -> None:
    assert "x-ratelimit-limit-requests" not in (await client.get("/v1/jobs")).headers


@one_database
async def test_rate__of_a_key_is_its_own_and_each_of_its_tokens(
    client_for: ClientFor, database: Database, caller: Any
) -> None:
    limited, secret = make_caller(database, requests_per_minute=2)
    with database.transaction() as conn:
        now, hour = database.now(conn), tokens.Grant(lifetime=timedelta(hours=1))
        minted = [tokens.mint(conn, limited.key, hour, now=now)[1] for _ in range(2)]
    for each in (secret, *minted):
        client = client_for(each)
        left = [(await client.get("/v1/jobs")).headers["x-ratelimit-remaining-requests"] for _ in range(2)]
        assert left == ["1", "0"]
        error = require_error(await client.get("/v1/jobs"), 429, code="too_many_requests")
        assert error["message"].startswith("This key may" if each == secret else "This token may")
    assert "x-ratelimit-limit-requests" not in (await client_for(caller[1]).get("/v1/jobs")).headers


@one_database
async def test_rate__counts_what_lacks_a_scope(client_for: ClientFor, database: Database) -> None:
    client = client_for(make_caller(database, requests_per_minute=2)[1])
    assert [(await client.get("/v1/admin/jobs")).status_code for _ in range(3)] == [403, 403, 429]


@one_database
async def test_rate__the_one_with_the_least_room_is_told(client_for: ClientFor, database: Database) -> None:
    _, secret = make_caller(database, requests_per_minute=5)
    limit(database, requests_per_minute=3)
    answer = await client_for(secret).get("/v1/jobs")
    assert [answer.headers[f"x-ratelimit-{what}-requests"] for what in ("limit", "remaining")] == ["3", "2"]


def test_rates__what_is_refused_counts_nowhere() -> None:
    rates = Rates(clock=Ticks())
    key, project = Limit("k", 1, "This key"), Limit("p", 2, "The project")
    rates.count(key, project)
    with pytest.raises(RateLimited, match="This key"):
        rates.count(key, project)
    assert rates.count(project)["x-ratelimit-remaining-requests"] == "0"
    with pytest.raises(RateLimited, match="The project"):
        rates.count(Limit("other", 9, "This key"), project)
    assert rates.count(Limit("other", 9, "This key"))["x-ratelimit-remaining-requests"] == "8"


def test_rates__those_long_silent_are_forgotten() -> None:
    ticks = Ticks()
    rates = Rates(clock=ticks)
    for number in range(MOST_KEPT):
        rates.count(Limit(f"tok_{number}", 1, "This token"))
    ticks.seconds = 61
    rates.count(Limit("tok_new", 1, "This token"))
    assert list(rates._seen) == ["tok_new"]


def test_rates__a_window_that_moves() -> None:
    ticks = Ticks()
    rates = Rates(clock=ticks)

    def ask(id_: str = "p", *, most: int) -> dict[str, str]:
        return rates.count(Limit(id_, most, "The project"))

    ask(most=2)
    ticks.seconds = 30
    assert ask(most=2)["x-ratelimit-reset-requests"] == "60s"
    with pytest.raises(RateLimited) as refused:
        ask(most=2)
    assert refused.value.retry_after == 30
    ask("another", most=1)
    ticks.seconds = 60
    assert ask(most=2)["x-ratelimit-remaining-requests"] == "0"
    with pytest.raises(RateLimited) as refused:
        ask(most=1)
    assert refused.value.retry_after == 60
