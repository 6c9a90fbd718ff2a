"""GET /v1/jobs: filters and pages."""

from datetime import timedelta
from typing import Any

import httpx2
import pytest

from app.api.callers import Caller
from app.db import endings
from app.db.engine import Database
from app.domain.states import JobState
from tests.api.conftest import require_error
from tests.conftest import one_database
from tests.factories import INPUT, make_caller, make_job


async def ids(client: httpx2.AsyncClient, **params: Any) -> list[str]:
    response = await client.get("/v1/jobs", params=params)
    assert response.status_code == 200, response.text
    return [job["id"] for job in response.json()["data"]]


async def test_list__is_empty_at_first(client: httpx2.AsyncClient) -> None:
    empty = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    assert (await client.get("/v1/jobs")).json() == empty


async def test_list__pages_stay_right_while_jobs_are_added(
    client: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    made = [make_job(database, me).id for _ in range(5)]
    first = (await client.get("/v1/jobs", params={"limit": 2})).json()
    assert (first["first_id"], first["last_id"], first["has_more"]) == (made[4], made[3], True)
    newer = make_job(database, me).id
    second = (await client.get("/v1/jobs", params={"limit": 2, "after": first["last_id"]})).json()
    third = (await client.get("/v1/jobs", params={"limit": 2, "after": second["last_id"]})).json()
    seen = [job["id"] for page in (first, second, third) for job in page["data"]]
    assert seen == made[::-1] and not third["has_more"]
    assert await ids(client, order="asc", after=made[3]) == [made[4], newer]
    assert len(await ids(client, limit=6)) == 6


async def test_list__goes_on_after_a_job_that_was_deleted(
    client: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    older, last = make_job(database, me), make_job(database, me, state=JobState.CANCELED)
    with database.transaction() as conn:
        endings.scrub(conn, last, now=database.now(conn))
    assert await ids(client, after=last.id) == [older.id]
    assert await ids(client) == [older.id]


async def test_list__narrows_by_status_and_state(client: httpx2.AsyncClient, database: Database, me: Caller) -> None:
    made = {state: make_job(database, me, state=state).id for state in JobState}
    expected = {
        "queued": {JobState.QUEUED},
        "in_progress": {JobState.SUBMITTING, JobState.UNCONFIRMED, JobState.GENERATING, JobState.SAVING},
        "succeeded": {JobState.SUCCEEDED},
        "failed": {JobState.FAILED},
        "canceled": {JobState.CANCELED, JobState.ABANDONED},
    }
    for status, states in expected.items():
        assert set(await ids(client, status=status)) == {made[state] for state in states}
    for state in JobState:
        assert await ids(client, state=state.value) == [made[state]]
    assert await ids(client, status="in_progress", state="saving") == [made[JobState.SAVING]]
    assert await ids(client, status="queued", state="saving") == []


async def test_list__narrows_by_model_and_time(client: httpx2.AsyncClient, database: Database, me: Caller) -> None:
    first = make_job(database, me, model="veo2", input={"prompt": "p"})
    second = make_job(database, me)
    assert await ids(client, model="veo2") == [first.id]
    moment = second.created_at
    kathmandu = (moment + timedelta(hours=5, minutes=45)).strftime("%Y-%m-%dT%H:%M:%S.%f+05:45")
    assert await ids(client, created_before=moment.isoformat()) == [first.id]
    assert await ids(client, created_before=kathmandu) == [first.id]
    assert await ids(client, created_after=first.created_at.isoformat().replace("+00:00", "Z")) == [second.id]
    # A plus sign that nobody escaped arrives as a space.
    assert (await client.get(f"/v1/jobs?created_before={kathmandu}")).json()["last_id"] == first.id


async def test_list__narrows_by_metadata(client: httpx2.AsyncClient, database: Database, me: Caller) -> None:
    both = make_job(database, me, metadata={"order": "A-17", "shop.id": "1"})
    make_job(database, me, metadata={"order": "A-17"})
    make_job(database, me, metadata={"order": "a-17", "shop.id": "1"})
    assert await ids(client, **{"metadata[order]": "A-17", "metadata[shop.id]": "1"}) == [both.id]
    assert await ids(client, **{"metadata[nothing]": "A-17"}) == []


async def test_list__shows_only_the_callers_project(client: httpx2.AsyncClient, database: Database, me: Caller) -> None:
    stranger, _ = make_caller(database, project="others")
    foreign = make_job(database, stranger)
    mine = make_job(database, me)
    assert await ids(client) == [mine.id]
    require_error(await client.get("/v1/jobs", params={"after": foreign.id}), 400, code="invalid_cursor", param="after")


@one_database
@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"order": "newest"}, "order"),
        ({"status": "done"}, "status"),
        ({"state": "in_progress"}, "state"),
        ({"after": "job_unknown"}, "after"),
        ({"after": "\x00"}, "after"),
        ({"created_after": "yesterday"}, "created_after"),
        ({"created_after": "2026-11-05T10:00:00"}, "created_after"),
        ({"created_after": "0"}, "created_after"),
        ({"created_before": "0001-01-01T00:00:00+10:00"}, "created_before"),
        ({"created_before": "2026-02-30T10:00:00Z"}, "created_before"),
        ({"model": "x\x00"}, "model"),
        ({"metadata[order]": "x\x00"}, "metadata[order]"),
        ({"metadata[ord er]": "x"}, "metadata[ord er]"),
        ({"metadata[]": "x"}, "metadata[]"),
        ({"metadata": "x"}, "metadata"),
        ({"metadata[order]": "x" * 513}, "metadata[order]"),
        ({"metadata[order]": ["x", "y"]}, "metadata[order]"),
        ({"limits": "5"}, "limits"),
        ({"limit[]": "5"}, "limit[]"),
    ],
)
async def test_list__bad_parameters_are_named(client: httpx2.AsyncClient, params: dict[str, Any], param: str) -> None:
    require_error(await client.get("/v1/jobs", params=params), 400, param=param)


async def test_list__shows_inputs_and_costs_as_the_single_job_does(
    client: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    job = make_job(database, me, estimated_micros=2_500_000)
    [listed] = (await client.get("/v1/jobs")).json()["data"]
    assert listed == (await client.get(f"/v1/jobs/{job.id}")).json()
    assert listed["input"] == INPUT and listed["cost"]["estimated_usd"] == 2.5
