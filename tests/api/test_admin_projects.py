"""Projects and keys over HTTP: made, limited, shown, ended; never an operator's key."""

import asyncio
from typing import Any

import httpx2
import pytest

from app.api.callers import Caller
from app.db import access
from app.db.engine import Database
from tests.api.conftest import ClientFor, count, require_error
from tests.conftest import one_database
from tests.factories import INPUT, MODEL, make_caller, make_job

PROJECTS = "/v1/admin/projects"
LIMITS = {"monthly_budget_usd": 99.5, "max_in_flight": 2, "requests_per_minute": 30, "models": [MODEL]}
NONE: dict[str, Any] = dict.fromkeys(LIMITS)
BODY = {"model": MODEL, "input": INPUT}


def limits_of(view: dict[str, Any]) -> dict[str, Any]:
    return {name: view[name] for name in LIMITS}


async def test_project__is_made_limited_and_shown(operator: httpx2.AsyncClient, client_for: ClientFor) -> None:
    made = await operator.post(PROJECTS, json={"name": "film", **LIMITS})
    project = made.json()
    assert (made.status_code, limits_of(project)) == (201, LIMITS)
    assert made.headers["location"] == f"{PROJECTS}/{project['id']}"
    key = (await operator.post(f"{PROJECTS}/{project['id']}/keys", json={"name": "a"})).json()["key"]
    assert (await client_for(key).post("/v1/jobs", json=BODY)).status_code == 201
    month = {"spent_usd": 0.0, "reserved_usd": 5.0, "jobs": 1}
    [listed, _] = (await operator.get(PROJECTS)).json()["data"]
    assert listed == project | {"month": month}
    changed = await operator.patch(f"{PROJECTS}/{project['id']}", json={"models": None, "max_in_flight": 3})
    assert limits_of(changed.json()) == LIMITS | {"models": None, "max_in_flight": 3}
    lifted = await operator.patch(f"{PROJECTS}/{project['id']}", json=NONE)
    assert limits_of(lifted.json()) == NONE
    assert (await operator.get(f"{PROJECTS}/{project['id']}")).json() == lifted.json()


async def test_project__asked_for_at_once_with_one_key_is_one(operator: httpx2.AsyncClient, database: Database) -> None:
    headers, before = {"Idempotency-Key": "k"}, count(database, "projects")
    asked = [operator.post(PROJECTS, json={"name": "film"}, headers=headers) for _ in range(6)]
    answers = await asyncio.gather(*asked)
    assert {(answer.status_code, answer.text) for answer in answers} == {(201, answers[0].text)}
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 5
    assert count(database, "projects") == before + 1
    other = await operator.post(PROJECTS, json={"name": "news"}, headers=headers)
    require_error(other, 422, code="idempotency_key_reused")
    require_error(await operator.post(PROJECTS, json={"name": "film"}), 409, code="project_exists")
    assert count(database, "projects") == before + 1


@one_database
@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": "a,b"}, "name"),
        ({"name": "a", "monthly_budget_usd": -1}, "monthly_budget_usd"),
        ({"name": "a", "max_in_flight": 0}, "max_in_flight"),
        ({"name": "a", "models": [MODEL, "veo9"]}, "models.1"),
        ({"name": "a", "models": []}, "models"),
    ],
)
async def test_project__a_limit_that_makes_no_sense_is_refused(
    operator: httpx2.AsyncClient, body: dict[str, Any], param: str
) -> None:
    require_error(await operator.post(PROJECTS, json=body), 400, param=param)


@one_database
async def test_budget__smaller_than_a_micro_dollar_is_none_at_all(operator: httpx2.AsyncClient) -> None:
    made = await operator.post(PROJECTS, json={"name": "a", "monthly_budget_usd": 2.22e-16})
    assert (made.status_code, made.json()["monthly_budget_usd"]) == (201, 0)


@one_database
async def test_models__of_a_project_are_the_only_ones_it_may_use(
    operator: httpx2.AsyncClient, client: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    job = (await client.post("/v1/jobs", json=BODY)).json()
    await client.post(f"/v1/jobs/{job['id']}/cancel")
    await operator.patch(f"{PROJECTS}/{me.project.id}", json={"models": ["veo2"]})
    for path in ("/v1/jobs", f"/v1/jobs/{job['id']}/retry"):
        refused = await client.post(path, json=BODY if path == "/v1/jobs" else None)
        assert "only: veo2" in require_error(refused, 403, code="model_not_allowed", param="model")["message"]
    assert count(database, "jobs") == 1
    allowed = await client.post("/v1/jobs", json={"model": "veo2", "input": {"prompt": "A boat"}})
    assert allowed.status_code == 201


@one_database
async def test_estimate__refuses_a_model_that_the_project_may_not_use(
    client_for: ClientFor, database: Database, me: Caller
) -> None:
    with database.transaction() as conn:
        access.limit_project(conn, me.project.name, models=["veo2"])
    secret = make_caller(database)[1]
    refused = await client_for(secret).post("/v1/jobs/estimate", json=BODY)
    require_error(refused, 403, code="model_not_allowed", param="model")


async def test_archive__ends_creating_and_what_is_queued(
    operator: httpx2.AsyncClient, client: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    job = make_job(database, me)
    path = f"{PROJECTS}/{me.project.id}/archive"
    archived = (await operator.post(path)).json()
    assert (archived["archived_at"] is not None, archived["canceled_jobs"]) == (True, 1)
    again = (await operator.post(path)).json()
    assert (again["archived_at"], again["canceled_jobs"]) == (archived["archived_at"], 0)
    assert (await client.get(f"/v1/jobs/{job.id}")).json()["status"] == "canceled"
    require_error(await client.post("/v1/jobs", json=BODY), 403, code="project_archived")
    found = {
        text: [project["name"] for project in (await operator.get(PROJECTS, params={"archived": text})).json()["data"]]
        for text in ("true", "false")
    }
    assert found == {"true": ["films"], "false": ["operators"]}


@one_database
async def test_lists__go_on_after_their_last(operator: httpx2.AsyncClient, me: Caller) -> None:
    first = (await operator.get(PROJECTS, params={"limit": 1})).json()
    rest = (await operator.get(PROJECTS, params={"limit": 1, "after": first["last_id"]})).json()
    assert [first["has_more"], rest["has_more"]] == [True, False]
    assert {page["data"][0]["name"] for page in (first, rest)} == {"films", "operators"}
    await operator.post(f"{PROJECTS}/{me.project.id}/archive")
    left = await operator.get(PROJECTS, params={"archived": "false", "after": me.project.id})
    assert left.status_code == 200, "what has left the list keeps its place in it"
    lists = (PROJECTS, f"{PROJECTS}/{me.project.id}/keys", "/v1/admin/deliveries")
    for path in lists:
        require_error(await operator.get(path, params={"after": "x"}), 400, code="invalid_cursor", param="after")


async def test_key__is_shown_once_works_and_ends(
    operator: httpx2.AsyncClient, client_for: ClientFor, database: Database, me: Caller
) -> None:
    path, headers = f"{PROJECTS}/{me.project.id}/keys", {"Idempotency-Key": "k"}
    wish = {"name": "phone", "scopes": ["jobs:write", "jobs:read"], "subject": "ann", "expires_in_days": 1}
    made = await operator.post(path, json=wish, headers=headers)
    key = made.json()
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    require_error(await operator.post(path, json=wish, headers=headers), 409, code="secret_already_shown")
    listed = await operator.get(path)
    assert key["key"] not in listed.text
    assert listed.json()["data"][0] == {name: value for name, value in key.items() if name != "key"}
    assert (key["scopes"], key["subject"], key["object"]) == (["jobs:read", "jobs:write"], "ann", "key")
    job = (await client_for(key["key"]).post("/v1/jobs", json=BODY)).json()
    assert job["subject"] == "ann"
    for _ in range(2):
        ended = await operator.delete(f"/v1/admin/keys/{key['id']}", params={"cancel_queued": "true"})
        assert ended.status_code == 204
    assert (await operator.get(path)).json()["data"][0]["revoked_at"] is not None
    seen = (await operator.get("/v1/admin/jobs")).json()["data"][0]
    assert (seen["id"], seen["status"]) == (job["id"], "canceled")


async def test_key__revoked_before_it_came_opens_nothing(
    operator: httpx2.AsyncClient, client_for: ClientFor, me: Caller
) -> None:
    key = (await operator.post(f"{PROJECTS}/{me.project.id}/keys", json={"name": "a"})).json()
    await operator.delete(f"/v1/admin/keys/{key['id']}")
    require_error(await client_for(key["key"]).get("/v1/jobs"), 401)


@one_database
async def test_key__of_an_operator_is_never_made_here(
    operator: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    before = count(database, "keys")
    path = f"{PROJECTS}/{me.project.id}/keys"
    refused = await operator.post(path, json={"name": "root", "scopes": ["jobs:read", "admin"]})
    assert "reelay keys create" in require_error(refused, 403, code="not_grantable", param="scopes")["message"]
    assert count(database, "keys") == before
    require_error(await operator.post(f"{PROJECTS}/proj_0/keys", json={"name": "a"}), 404)
