"""Cancel, retry, delete."""

import asyncio
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from app.api.callers import Caller
from app.api.deps import House
from app.api.schemas import JobRequest
from app.db import deployment, events, files, jobs
from app.db.engine import Database
from app.db.tables import jobs as jobs_table
from app.domain.job import Job
from app.domain.states import JobState
from app.workers.sweep import Sweeper
from tests.api.conftest import ClientFor, count, data_uri, require_error, stored
from tests.conftest import one_database
from tests.factories import INPUT, MODEL, lead, make_job, picture, video_of

S = JobState


@pytest.mark.parametrize(
    ("state", "status", "after"),
    [
        (S.QUEUED, 200, "canceled"),
        (S.SUBMITTING, 202, "submitting"),
        (S.UNCONFIRMED, 200, "abandoned"),
        (S.GENERATING, 200, "abandoned"),
        (S.ABANDONED, 200, "abandoned"),
        (S.CANCELED, 200, "canceled"),
        (S.SAVING, 409, "saving"),
        (S.SUCCEEDED, 409, "succeeded"),
        (S.FAILED, 409, "failed"),
    ],
)
async def test_cancel__goes_as_far_as_the_state_allows(
    client: httpx2.AsyncClient, database: Database, me: Caller, state: JobState, status: int, after: str
) -> None:
    job = make_job(database, me, state=state)
    for _ in range(2):  # repeated, it says the same
        response = await client.post(f"/v1/jobs/{job.id}/cancel")
        assert response.status_code == status
    shown = (await client.get(f"/v1/jobs/{job.id}")).json()
    assert shown["state"] == after
    assert (shown["cancel_requested_at"] is not None) == (state is S.SUBMITTING)
    if status == 409:
        require_error(response, 409)
        assert response.headers["x-should-retry"] == "false"
    else:
        assert response.json() | {"progress": 0} == shown | {"progress": 0}


async def test_retry__makes_the_same_job_once(
    client: httpx2.AsyncClient, client_for: ClientFor, database: Database, me: Caller
) -> None:
    original = make_job(
        database, me, state=S.FAILED, metadata={"order": "A-17"}, priority=-1, max_cost_micros=9_000_000
    )
    with database.transaction() as conn:
        price = {"kind": "fixed", "units": [{"price": "2", "unit": "video"}]}
        deployment.save_prices(conn, etag=None, rules={MODEL: price}, now=database.now(conn))
    first, second = await asyncio.gather(*(client.post(f"/v1/jobs/{original.id}/retry") for _ in range(2)))
    assert sorted([first.status_code, second.status_code]) == [200, 201]
    job = first.json()
    assert second.json()["id"] == job["id"] != original.id
    assert first.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["retried_from"], job["state"]) == (original.id, "queued")
    assert (job["input"], job["metadata"], job["priority"]) == (INPUT, {"order": "A-17"}, "high")
    assert job["cost"]["estimated_usd"] == 2.0
    assert count(database, "jobs") == 2
    # Once that one has ended badly too, there is room for another.
    await client.post(f"/v1/jobs/{job['id']}/cancel")
    third = await client.post(f"/v1/jobs/{original.id}/retry")
    assert third.status_code == 201 and third.json()["id"] != job["id"]


@pytest.mark.parametrize(
    ("state", "given"),
    [
        (S.FAILED, {"billed": True}),
        (S.CANCELED, {"charged_micros": 2_500_000, "charge_basis": "estimated"}),
        (S.ABANDONED, {}),
    ],
)
async def test_retry__of_what_may_have_been_billed_needs_consent(
    client: httpx2.AsyncClient, database: Database, me: Caller, state: JobState, given: dict[str, Any]
) -> None:
    job = make_job(database, me, state=state)
    with database.transaction() as conn:
        conn.execute(sa.update(jobs_table).values(given or {"billed": None}))
    url = f"/v1/jobs/{job.id}/retry"
    for body in (None, {}, {"accept_new_charge": False}):
        refused = await client.post(url, json=body) if body is not None else await client.post(url)
        require_error(refused, 409, code="new_charge_not_accepted")
    accepted = await client.post(url, json={"accept_new_charge": True})
    assert accepted.status_code == 201
    # The retry under way costs nothing new, so no consent is needed to be told of it.
    assert (await client.post(url)).json()["id"] == accepted.json()["id"]


@pytest.mark.parametrize("state", [S.QUEUED, S.SUBMITTING, S.UNCONFIRMED, S.GENERATING, S.SAVING, S.SUCCEEDED])
async def test_retry__only_of_a_failed_or_canceled_job(
    client: httpx2.AsyncClient, database: Database, me: Caller, state: JobState
) -> None:
    job = make_job(database, me, state=state)
    refused = await client.post(f"/v1/jobs/{job.id}/retry", json={"accept_new_charge": True})
    require_error(refused, 409, code="not_retryable")
    assert count(database, "jobs") == 1


WISHES: dict[str, Any] = {
    "model": "google/veo-3.0-i2v",
    "input": INPUT,
    "metadata": {"order": "A-17"},
    "max_cost_usd": 9.0,
    "priority": "high",
    "on_unconfirmed": "resubmit",
    "start_within_seconds": 600,
    "webhook_url": "https://93.184.216.34/hook",
}


WISHED = {"model", "metadata", "max_cost_micros", "priority", "on_unconfirmed", "start_by", "webhook_url"}


def differences(one: Job, other: Job) -> set[str]:
    return {field.name for field in fields(one) if getattr(one, field.name) != getattr(other, field.name)}


async def test_retry__keeps_every_wish(client: httpx2.AsyncClient, database: Database, me: Caller) -> None:
    assert WISHES.keys() == JobRequest.model_fields.keys() - {"reuse"}, "say what a retry makes of a new one"
    with database.transaction() as conn:
        price = {"kind": "fixed", "units": [{"price": "2", "unit": "video"}]}
        deployment.save_prices(conn, etag=None, rules={WISHES["model"]: price}, now=database.now(conn))
    made = await client.post("/v1/jobs", json=WISHES)
    bare = await client.post("/v1/jobs", json={"input": INPUT})
    with database.transaction() as conn:
        original, wishless = (jobs.get(conn, answer.json()["id"], owner=me.owner) for answer in (made, bare))
    assert differences(original, wishless) >= WISHED
    await client.post(f"/v1/jobs/{original.id}/cancel")
    retried = await client.post(f"/v1/jobs/{original.id}/retry")
    with database.transaction() as conn:
        again = jobs.get(conn, retried.json()["id"], owner=me.owner)
    assert differences(original, again) == {"id", "created_at", "due_at", "start_by", "retried_from"}


async def test_retry__keeps_to_the_old_limit_and_span(
    client: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    job = make_job(database, me, state=S.FAILED, max_cost_micros=1)
    refused = require_error(await client.post(f"/v1/jobs/{job.id}/retry"), 400, code="price_unknown", param=None)
    assert "Make a new job with another limit" in refused["message"]
    with database.transaction() as conn:
        start_by = job.created_at.replace(year=job.created_at.year + 1)
        conn.execute(sa.update(jobs_table).values(max_cost_micros=None, start_by=start_by))
    again = (await client.post(f"/v1/jobs/{job.id}/retry")).json()
    with database.transaction() as conn:
        row = jobs.get(conn, again["id"], owner=me.owner)
    assert row.start_by is not None and row.start_by - row.created_at == start_by - job.created_at


async def test_retry__needs_its_image(client: httpx2.AsyncClient, database: Database, me: Caller) -> None:
    body = {"input": {"prompt": "p", "image_url": data_uri(picture())}}
    job = (await client.post("/v1/jobs", json=body)).json()
    await client.post(f"/v1/jobs/{job['id']}/cancel")
    again = await client.post(f"/v1/jobs/{job['id']}/retry")
    assert again.json()["input"] == job["input"]
    await client.post(f"/v1/jobs/{again.json()['id']}/cancel")
    with database.transaction() as conn:
        files.delete(conn, [job["input"]["image_url"]])
    require_error(await client.post(f"/v1/jobs/{job['id']}/retry"), 409, code="input_expired")


@one_database
@pytest.mark.parametrize(
    ("content", "headers", "status", "param"),
    [
        (b'{"accept_new_charge": "yes"}', {"Content-Type": "application/json"}, 400, "accept_new_charge"),
        (b'{"accept_new_charges": true}', {"Content-Type": "application/json"}, 400, "accept_new_charges"),
        (b"[]", {"Content-Type": "application/json"}, 400, None),
        (b"accept_new_charge=true", {"Content-Type": "application/x-www-form-urlencoded"}, 415, None),
    ],
)
async def test_retry__bad_bodies_are_refused(
    client: httpx2.AsyncClient,
    database: Database,
    me: Caller,
    content: bytes,
    headers: dict[str, str],
    status: int,
    param: str | None,
) -> None:
    job = make_job(database, me, state=S.FAILED)
    refused = await client.post(f"/v1/jobs/{job.id}/retry", content=content, headers=headers)
    require_error(refused, status, param=param)
    assert count(database, "jobs") == 1


@pytest.mark.parametrize("state", [S.QUEUED, S.SUBMITTING, S.UNCONFIRMED, S.GENERATING, S.SAVING, S.ABANDONED])
async def test_delete__only_of_a_finished_job(
    client: httpx2.AsyncClient, database: Database, me: Caller, state: JobState
) -> None:
    job = make_job(database, me, state=state)
    require_error(await client.delete(f"/v1/jobs/{job.id}"), 409, code="not_finished")
    assert (await client.get(f"/v1/jobs/{job.id}")).status_code == 200


async def made_with_image(client: httpx2.AsyncClient, database: Database, me: Caller, house: House) -> str:
    """Return a succeeded job with an uploaded image, a video and a poster."""
    body = {"input": {"prompt": "a secret", "image_url": data_uri(picture())}, "metadata": {"name": "secret"}}
    job_id: str = (await client.post("/v1/jobs", json=body)).json()["id"]
    with database.transaction() as conn:
        job = jobs.get(conn, job_id, owner=me.owner)
        for to in (S.SUBMITTING, S.GENERATING, S.SAVING, S.SUCCEEDED):
            job = lead(conn, database, job, to=to)
    for name in ("key", "poster_key"):
        await house.store.put_bytes(video_of(job)[name], b"bytes", content_type="video/mp4")
    return job_id


async def test_delete__forgets_everything_but_the_cost(
    client: httpx2.AsyncClient, database: Database, me: Caller, house: House, storage: Path
) -> None:
    job_id = await made_with_image(client, database, me, house)
    assert len(stored(storage)) == 3
    deleted = await client.delete(f"/v1/jobs/{job_id}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert stored(storage) == []
    assert count(database, "files") == 0
    with database.transaction() as conn:
        row = jobs.lock(conn, job_id)
        assert all(event.data == {} for event in events.of_job(conn, job_id))
    assert (row.input, row.metadata, row.video, row.settled) == ({}, {}, None, True)
    for method, path in (("GET", ""), ("GET", "/content"), ("GET", "/events"), ("DELETE", ""), ("POST", "/retry")):
        require_error(await client.request(method, f"/v1/jobs/{job_id}{path}"), 404)
    assert (await client.get("/v1/jobs")).json()["data"] == []


async def test_delete__keeps_an_image_that_another_job_uses(
    client: httpx2.AsyncClient, database: Database, me: Caller, house: House, storage: Path
) -> None:
    first = await made_with_image(client, database, me, house)
    file_id = (await client.get(f"/v1/jobs/{first}")).json()["input"]["image_url"]
    second = (await client.post("/v1/jobs", json={"input": {"prompt": "p", "image_url": file_id}})).json()["id"]
    await client.delete(f"/v1/jobs/{first}")
    assert stored(storage) == [f"inputs/{file_id}.jpg"]
    await client.post(f"/v1/jobs/{second}/cancel")
    await client.delete(f"/v1/jobs/{second}")
    assert (stored(storage), count(database, "files")) == ([], 0)


async def test_delete__with_the_storage_away_is_done_later(
    client: httpx2.AsyncClient, database: Database, me: Caller, house: House, storage: Path
) -> None:
    job_id = await made_with_image(client, database, me, house)
    videos, aside = storage / "videos", storage / "aside"
    videos.rename(aside)
    videos.write_text("a file where a folder belongs")
    assert (await client.delete(f"/v1/jobs/{job_id}")).status_code == 204
    assert (await client.get(f"/v1/jobs/{job_id}/content")).status_code == 404
    videos.unlink()
    aside.rename(videos)
    sweeper = Sweeper(database, house.store, worker="w", retention=None)
    await sweeper.run_once()
    assert stored(storage) == []


async def test_retry__after_a_rise_says_what_can_be_done(
    client: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    job = make_job(database, me, state=S.FAILED, max_cost_micros=1_000_000)
    with database.transaction() as conn:
        price = {"kind": "fixed", "units": [{"price": "2", "unit": "video"}]}
        deployment.save_prices(conn, etag=None, rules={MODEL: price}, now=database.now(conn))
    for path, body in ((f"/v1/jobs/{job.id}/retry", {}), (f"/v1/videos/video_{job.id[4:]}/remix", {"prompt": "x"})):
        refused = require_error(await client.post(path, json=body), 400, code="cost_limit_exceeded", param=None)
        assert refused["message"] == (
            "This job is estimated at 2.0 USD, and it would keep the first job's 'max_cost_usd' of 1.0. "
            "Make a new job with another limit, or without one."
        )
