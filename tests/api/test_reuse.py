"""`reuse`: the video of a finished job again, at no cost, and never another's, a lost or an unlike one."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.api import routes
from app.api.callers import Caller
from app.api.deps import House
from app.db import access, jobs, usage
from app.db.engine import Database
from app.db.jobs import Owner
from app.db.tables import months
from app.domain.job import Job
from app.domain.states import JobState
from app.media.store import Store
from tests.api.conftest import ClientFor, count, data_uri, require_error, stored
from tests.api.test_create import set_prices
from tests.conftest import Clock, one_database
from tests.factories import MODEL, PATHS, VIDEO, lead, make_caller, picture, video_of

SEEDED = {"prompt": "Mona Lisa winks.", "image_url": data_uri(picture()), "seed": 7}
BODY: dict[str, Any] = {"model": MODEL, "input": SEEDED}
AGAIN = BODY | {"reuse": True}
POSTER = b"a poster"


async def post(client: httpx2.AsyncClient, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    response = await client.post("/v1/jobs", json=body, headers=headers)
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.json()
    return found


async def end(house: House, job_id: str, *, state: JobState = JobState.SUCCEEDED) -> Job:
    """Lead a queued job to its end; a video is stored for one that succeeds."""
    with house.db.transaction() as conn:
        job = jobs.lock(conn, job_id)
        for to in PATHS[state]:
            job = lead(conn, house.db, job, to=to)
    if state is JobState.SUCCEEDED:
        await house.store.put_bytes(video_of(job)["key"], VIDEO, content_type="video/mp4")
        await house.store.put_bytes(video_of(job)["poster_key"], POSTER, content_type="image/jpeg")
    return job


@pytest.fixture
async def original(client: httpx2.AsyncClient, house: House) -> Job:
    """A finished job of the body, made without a wish to reuse."""
    return await end(house, (await post(client, BODY))["id"])


async def content(client: httpx2.AsyncClient, job_id: str, variant: str = "video") -> bytes:
    response = await client.get(f"/v1/jobs/{job_id}/content", params={"variant": variant})
    assert response.status_code == 200, response.text
    return response.content


async def test_reuse__is_a_finished_job_with_its_own_copy_at_no_cost(
    client: httpx2.AsyncClient, database: Database, me: Caller, original: Job
) -> None:
    set_prices(database)
    job = await post(client, AGAIN | {"metadata": {"order": "A-18"}, "start_within_seconds": 60})
    assert job == (await client.get(f"/v1/jobs/{job['id']}")).json()
    assert (job["status"], job["reused_from"], job["progress"]) == ("succeeded", original.id, 100)
    assert (job["attempts"], job["started_at"], job["metadata"]) == (0, None, {"order": "A-18"})
    assert job["finished_at"] == job["created_at"] < job["expires_at"]
    assert job["queue"] == {"position": None, "reason": None}
    nothing = {"estimated_usd": 0.0, "charged_usd": 0.0, "basis": None, "reserved_usd": 0.0, "settled": True}
    assert job["cost"] == nothing
    assert (await content(client, job["id"]), await content(client, job["id"], "poster")) == (VIDEO, POSTER)
    events = (await client.get(f"/v1/jobs/{job['id']}/events")).json()["data"]
    assert [event["type"] for event in events] == ["job.created", "job.succeeded"]
    with database.transaction() as conn:
        row = jobs.lock(conn, job["id"])
        month = usage.total(
            conn,
            owner=Owner(project_id=me.key.project_id),
            start=row.created_at - timedelta(hours=1),
            end=row.created_at + timedelta(hours=1),
        )
    assert (row.generation_id, row.billed, row.charged_micros, row.event_count) == (None, False, None, 2)
    assert (month.jobs, month.charged_micros) == (2, 0)
    assert count(database, "submissions") == 0


@pytest.mark.parametrize("deleted", ["original", "copy"])
async def test_reuse__each_video_outlives_the_other(client: httpx2.AsyncClient, original: Job, deleted: str) -> None:
    copy = (await post(client, AGAIN))["id"]
    gone, kept = (original.id, copy) if deleted == "original" else (copy, original.id)
    assert (await client.delete(f"/v1/jobs/{gone}")).status_code == 204
    assert (await content(client, kept), await content(client, kept, "poster")) == (VIDEO, POSTER)
    assert (await post(client, AGAIN))["reused_from"] == kept  # a copy is as good as an original


@pytest.mark.parametrize(
    "other",
    [
        BODY | {"input": SEEDED | {"seed": 8}},
        BODY | {"input": SEEDED | {"duration": 6}},
        BODY | {"input": SEEDED | {"prompt": "Mona Lisa winks"}},
        BODY | {"input": SEEDED | {"image_url": data_uri(picture(size=(8, 7)))}},
        BODY | {"input": SEEDED | {"image_url": "https://pictures.example/mona-lisa.jpg"}},
        {"model": "veo2", "input": {"prompt": SEEDED["prompt"], "seed": 7}},
    ],
    ids=["seed", "parameter", "prompt", "image", "link", "model"],
)
@pytest.mark.usefixtures("original")
@one_database
async def test_reuse__what_differs_is_bought(client: httpx2.AsyncClient, other: dict[str, Any]) -> None:
    job = await post(client, other | {"reuse": True})
    assert (job["status"], job["reused_from"]) == ("queued", None)


@one_database
async def test_reuse__what_says_the_same_is_found(client: httpx2.AsyncClient, original: Job) -> None:
    """Defaults, numbers as text, a form, a file named by its id, and bytes that differ only in what is stripped."""
    first = (await client.get(f"/v1/jobs/{original.id}")).json()["input"]
    said = [SEEDED | {"seed": 7.0}, SEEDED | {"seed": "7", "duration": 5}, SEEDED | {"image_url": first["image_url"]}]
    for given in said:
        assert (await post(client, AGAIN | {"input": given}))["reused_from"] is not None
    form = {"model": MODEL, "prompt": SEEDED["prompt"], "seed": "7", "reuse": "true"}
    answer = await client.post("/v1/jobs", data=form, files={"image": ("x.jpg", picture())})
    assert (answer.status_code, answer.json()["status"]) == (201, "succeeded")


async def test_reuse__is_bound_to_project_and_subject(
    client_for: ClientFor, client: httpx2.AsyncClient, database: Database, house: House, original: Job
) -> None:
    for bound in ({"subject": "ann"}, {"subject": "bob"}, {"project": "others"}):
        other = client_for(make_caller(database, **bound)[1])
        job = await post(other, AGAIN)
        assert (job["status"], job["reused_from"]) == ("queued", None), bound
        await end(house, job["id"])
        assert (await post(other, AGAIN))["reused_from"] == job["id"]
    assert (await post(client, AGAIN))["reused_from"] == original.id


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELED, JobState.GENERATING])
async def test_reuse__only_what_succeeded(client: httpx2.AsyncClient, house: House, state: JobState) -> None:
    await end(house, (await post(client, BODY))["id"], state=state)
    assert (await post(client, AGAIN))["status"] == "queued"


async def test_reuse__a_deleted_job_is_gone(
    client: httpx2.AsyncClient, house: House, original: Job, storage: Path
) -> None:
    assert (await client.delete(f"/v1/jobs/{original.id}")).status_code == 204
    job = await post(client, AGAIN)
    assert (job["status"], [name for name in stored(storage) if name.startswith("videos/")]) == ("queued", [])
    with house.db.transaction() as conn:
        assert jobs.lock(conn, original.id).likeness is None  # a hash that tells of a prompt goes with it


async def test_reuse__an_expired_job_is_gone_before_it_is_swept(
    clock: Clock, client: httpx2.AsyncClient, original: Job
) -> None:
    clock.move(days=29)
    copy = await post(client, AGAIN)
    assert copy["reused_from"] == original.id
    clock.move(days=1)
    assert (await post(client, AGAIN))["reused_from"] == copy["id"]  # it has a time of its own
    clock.move(days=30)
    assert (await post(client, AGAIN))["status"] == "queued"


@one_database
async def test_reuse__a_job_whose_video_was_lost_is_made_anew(
    client: httpx2.AsyncClient, original: Job, storage: Path
) -> None:
    (storage / video_of(original)["poster_key"]).unlink()
    assert (await post(client, AGAIN))["status"] == "queued"
    assert [name for name in stored(storage) if name.startswith("videos/")] == [video_of(original)["key"]]


@pytest.mark.parametrize(
    ("model", "given", "param"),
    [
        (MODEL, {name: SEEDED[name] for name in ("prompt", "image_url")}, "input.seed"),
        ("bytedance/seedance-1-5-pro", {"prompt": "p"}, "input.seed"),
        ("bytedance/seedance-1-5-pro", {"prompt": "p", "seed": -1}, "input.seed"),
        ("minimax/hailuo-02", {"prompt": "p"}, "reuse"),
    ],
)
@one_database
async def test_reuse__needs_a_seed(
    client: httpx2.AsyncClient, database: Database, model: str, given: dict[str, Any], param: str
) -> None:
    body = {"model": model, "input": given, "reuse": True}
    for path in ("/v1/jobs", "/v1/jobs/estimate"):
        require_error(await client.post(path, json=body), 400, code="seed_required", param=param)
    assert count(database, "jobs") == 0
    assert (await client.post("/v1/jobs", json=body | {"reuse": False})).status_code == 201


async def test_reuse__without_storage_is_refused_and_leaves_nothing(
    client: httpx2.AsyncClient, database: Database, original: Job, storage: Path
) -> None:
    before = stored(storage)
    poster = storage / video_of(original)["poster_key"]
    poster.unlink()
    poster.mkdir()  # the video can be copied, the poster cannot
    require_error(await client.post("/v1/jobs", json=AGAIN), 503, code="storage_unavailable")
    assert (count(database, "jobs"), count(database, "files")) == (1, 1)
    assert stored(storage) == [name for name in before if name != video_of(original)["poster_key"]]


async def test_reuse__two_at_once_get_a_copy_each(client: httpx2.AsyncClient, original: Job) -> None:
    made = await asyncio.gather(*(post(client, AGAIN) for _ in range(2)))
    assert {job["reused_from"] for job in made} <= {original.id, *(job["id"] for job in made)}
    assert len({job["id"] for job in made}) == 2
    assert [await content(client, job["id"]) for job in made] == [VIDEO, VIDEO]


class Slow(Store):
    """A store in which something happens between the copy and the commit."""

    async def copy(self, key: str, *, to: str) -> None:
        await super().copy(key, to=to)
        await self.meanwhile(key)

    async def meanwhile(self, key: str) -> None: ...


async def test_reuse__a_job_deleted_during_the_copy_is_not_shown_again(
    client_for: ClientFor, caller: tuple[Caller, str], client: httpx2.AsyncClient, house: House, storage: Path
) -> None:
    first = await end(house, (await post(client, BODY))["id"])
    second = await end(house, (await post(client, BODY))["id"])
    slow = Slow.open(str(storage))

    async def delete(key: str) -> None:
        if key == video_of(second)["poster_key"]:
            assert (await client.delete(f"/v1/jobs/{second.id}")).status_code == 204

    slow.meanwhile = delete
    racing = client_for(caller[1], app=routes.build(replace(house, store=slow)))
    job = await post(racing, AGAIN)
    assert job["reused_from"] == first.id
    kept = {f"videos/{id_}.{suffix}" for id_ in (first.id, f"{job['id']}-0") for suffix in ("mp4", "jpg")}
    assert {name for name in stored(storage) if name.startswith("videos/")} == kept
    assert await content(client, job["id"]) == VIDEO


@pytest.mark.usefixtures("original")
async def test_reuse__is_replayed_with_links_of_its_own(
    client: httpx2.AsyncClient, database: Database, storage: Path
) -> None:
    key = {"Idempotency-Key": "k"}
    first, again = [await client.post("/v1/jobs", json=AGAIN, headers=key) for _ in range(2)]
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    told, told_again = first.json(), again.json()
    links = [told.pop("video"), told_again.pop("video")]
    assert told == told_again
    assert told["status"] == "succeeded"
    for link in links:
        assert (await client.get(link["url"], headers={"Authorization": ""})).content == VIDEO
    signature = httpx2.URL(links[0]["url"]).params["signature"]
    with database.transaction() as conn:
        assert signature not in str(conn.exec_driver_sql("SELECT * FROM creations").all())
    assert [answer.headers["etag"][:3] for answer in (first, again)] == ['"2-', '"2-']
    assert not {"retry-after"} & {*first.headers, *again.headers}
    counted = {"X-Stainless-Retry-Count": "1"}
    retried = [(await post(client, AGAIN | {"metadata": {"n": "1"}}, **counted))["id"] for _ in range(2)]
    assert (len(set(retried)), count(database, "jobs")) == (2, 4)  # equal counts are calls of their own
    assert len([name for name in stored(storage) if name.endswith(".mp4")]) == 4


async def test_reuse__costs_nothing_where_the_budget_is_passed(
    client: httpx2.AsyncClient, database: Database, original: Job
) -> None:
    set_prices(database)
    with database.transaction() as conn:
        access.limit_project(conn, "films", monthly_budget_micros=1)
        conn.execute(months.update().values(spent_micros=2))
    least = AGAIN | {"max_cost_usd": 0.000_001}
    assert (await post(client, least))["reused_from"] == original.id
    other = least | {"input": SEEDED | {"seed": 8}}
    require_error(await client.post("/v1/jobs", json=other), 400, code="cost_limit_exceeded")
    require_error(await client.post("/v1/jobs", json=other | {"max_cost_usd": 9}), 429, code="insufficient_quota")


@one_database
async def test_reuse__a_retry_and_a_remix_are_found_as_well(
    client: httpx2.AsyncClient, house: House, original: Job
) -> None:
    video = original.id.replace("job_", "video_")
    remix = (await client.post(f"/v1/videos/{video}/remix", json={"prompt": "She laughs."})).json()["id"]
    failed = await end(house, remix.replace("video_", "job_"), state=JobState.FAILED)
    retry = (await client.post(f"/v1/jobs/{failed.id}/retry")).json()["id"]
    await end(house, retry)
    assert (await post(client, AGAIN | {"input": SEEDED | {"prompt": "She laughs."}}))["reused_from"] == retry


@one_database
async def test_reuse__works_through_the_openai_face(client: httpx2.AsyncClient, house: House, original: Job) -> None:
    fields = {"model": MODEL, "prompt": SEEDED["prompt"], "seed": "7", "reuse": "true"}
    files = {"input_reference": ("x.jpg", picture())}
    key = {"Idempotency-Key": "k"}
    made, again = [await client.post("/v1/videos", data=fields, files=files, headers=key) for _ in range(2)]
    assert (made.status_code, made.json()["status"], made.content) == (200, "completed", again.content), made.text
    assert not {"openai-poll-after-ms"} & {*made.headers, *again.headers}
    with house.db.transaction() as conn:
        assert jobs.lock(conn, made.json()["id"].replace("video_", "job_")).reused_from == original.id
    refused = await client.post("/v1/videos", json={"model": "veo2", "prompt": "p", "reuse": True})
    require_error(refused, 400, code="seed_required", param="seed")


@one_database
async def test_reuse__is_no_field_of_the_aimlapi_face(client: httpx2.AsyncClient) -> None:
    body = {"model": "veo2", "prompt": "p", "seed": 7, "reuse": True}
    assert (await client.post("/v2/video/generations", json=body)).status_code == 400
