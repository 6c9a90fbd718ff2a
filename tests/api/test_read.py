"""GET /v1/jobs/{id}, its waits, and the timeline."""

import asyncio

import httpx2
import pytest

from app.api import waiting
from app.api.callers import Caller
from app.api.deps import House
from app.db import access, endings, gate, jobs
from app.db.engine import Database
from app.domain.states import JobState
from tests.api.conftest import ClientFor, asleep, require_error
from tests.conftest import Clock, one_database
from tests.factories import INPUT, lead, make_caller, make_job


async def test_read__shows_an_unfinished_job(client: httpx2.AsyncClient, database: Database, me: Caller) -> None:
    job = make_job(database, me, state=JobState.GENERATING)
    response = await client.get(f"/v1/jobs/{job.id}")
    assert response.status_code == 200
    shown = response.json()
    assert (shown["status"], shown["state"], shown["attempts"]) == ("in_progress", "generating", 1)
    assert 30 <= shown["eta_seconds"] <= 40 and shown["video"] is None and shown["error"] is None
    assert response.headers["cache-control"] == "private, no-cache"
    assert response.headers["retry-after"] == "10"


async def test_read__shows_a_finished_job(client: httpx2.AsyncClient, database: Database, me: Caller) -> None:
    job = make_job(database, me, state=JobState.SUCCEEDED)
    response = await client.get(f"/v1/jobs/{job.id}")
    shown = response.json()
    assert (shown["status"], shown["progress"]) == ("succeeded", 100)
    assert shown["video"]["url"].startswith(f"https://reelay.test/v1/jobs/{job.id}/content?variant=video&expires=")
    assert f"key_id={me.key.id}" in shown["video"]["poster_url"]
    assert "key" not in shown["video"]
    assert "retry-after" not in response.headers
    assert shown["expires_at"] > shown["finished_at"]


async def test_read__answers_304_until_something_changes(
    client: httpx2.AsyncClient, database: Database, me: Caller, clock: Clock
) -> None:
    job = make_job(database, me)
    url = f"/v1/jobs/{job.id}"
    tag = (await client.get(url)).headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        unchanged = await client.get(url, headers={"If-None-Match": known})
        assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", tag)
        assert unchanged.headers["cache-control"] == "private, no-cache"
    with database.transaction() as conn:
        # No move: the hold is not even on the job's own row.
        gate.hold(conn, now=database.now(conn), until=database.now(conn), reason="upstream_key_refused")
    changed = await client.get(url, headers={"If-None-Match": tag})
    assert changed.status_code == 200 and changed.headers["etag"] != tag


async def soon(request: asyncio.Future[httpx2.Response]) -> httpx2.Response:
    """Return the answer, long before the minute that the request would wait is over."""
    async with asyncio.timeout(20):
        return await request


async def test_wait__answers_when_the_job_ends(client: httpx2.AsyncClient, database: Database, me: Caller) -> None:
    job = make_job(database, me, state=JobState.SUBMITTING)
    request = asyncio.ensure_future(client.get(f"/v1/jobs/{job.id}?wait=60"))
    await asleep(database)
    moved = await database.write(lambda conn: lead(conn, database, job, to=JobState.GENERATING))
    await asleep(database)
    assert not request.done()
    await database.write(lambda conn: lead(conn, database, moved, to=JobState.FAILED))
    assert (await soon(request)).json()["error"]["code"] == "upstream_failed"


async def test_wait__with_a_known_view_answers_when_the_state_changes(
    client: httpx2.AsyncClient, database: Database, me: Caller, clock: Clock
) -> None:
    job = make_job(database, me, state=JobState.GENERATING)
    url = f"/v1/jobs/{job.id}"
    tag = (await client.get(url)).headers["etag"]
    clock.move(seconds=10)  # progress and ETA are others now, the state is not
    request = asyncio.ensure_future(client.get(f"{url}?wait=60", headers={"If-None-Match": tag}))
    await asleep(database)
    await database.write(lambda conn: lead(conn, database, job, to=JobState.SAVING))
    response = await soon(request)
    assert (response.status_code, response.json()["state"]) == (200, "saving")


async def test_wait__with_a_known_view_is_304_when_time_is_up(
    client: httpx2.AsyncClient, database: Database, me: Caller, clock: Clock
) -> None:
    job = make_job(database, me, state=JobState.GENERATING)
    tag = (await client.get(f"/v1/jobs/{job.id}")).headers["etag"]
    clock.move(seconds=10)
    assert (await client.get(f"/v1/jobs/{job.id}", headers={"If-None-Match": tag})).status_code == 200
    waited = await client.get(f"/v1/jobs/{job.id}?wait=1", headers={"If-None-Match": tag})
    assert (waited.status_code, waited.content) == (304, b"")


async def test_wait__a_view_of_an_earlier_state_is_answered_at_once(
    client: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    job = make_job(database, me, state=JobState.SUBMITTING)
    tag = (await client.get(f"/v1/jobs/{job.id}")).headers["etag"]
    await database.write(lambda conn: lead(conn, database, job, to=JobState.GENERATING))
    async with asyncio.timeout(30):
        response = await client.get(f"/v1/jobs/{job.id}?wait=60", headers={"If-None-Match": tag})
    assert response.status_code == 200


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.CANCELED, JobState.FAILED, JobState.ABANDONED])
async def test_wait__is_over_for_a_finished_job(
    client: httpx2.AsyncClient, database: Database, me: Caller, state: JobState
) -> None:
    job = make_job(database, me, state=state)
    async with asyncio.timeout(30):
        response = await client.get(f"/v1/jobs/{job.id}", headers={"Prefer": "wait=60"})
        assert (response.status_code, response.headers["preference-applied"]) == (200, "wait=60")
        known = {"Prefer": "wait=60", "If-None-Match": response.headers["etag"]}
        assert (await client.get(f"/v1/jobs/{job.id}", headers=known)).status_code == 304


async def test_wait__looks_by_itself_when_a_wake_was_missed(
    client: httpx2.AsyncClient, database: Database, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "SAFETY_POLL_SECONDS", 0.05)
    job = make_job(database, me)
    request = asyncio.ensure_future(client.get(f"/v1/jobs/{job.id}?wait=60"))
    await asleep(database)
    with database.transaction() as conn:  # as another replica would: nobody here is woken
        jobs.cancel(conn, job.id, owner=me.owner, now=database.now(conn))
    assert (await soon(request)).json()["status"] == "canceled"


async def test_wait__ends_with_the_key(client: httpx2.AsyncClient, database: Database, me: Caller) -> None:
    job = make_job(database, me, state=JobState.SUBMITTING)
    request = asyncio.ensure_future(client.get(f"/v1/jobs/{job.id}?wait=60"))
    await asleep(database)
    with database.transaction() as conn:
        access.revoke_key(conn, me.key.id, now=database.now(conn))
    await database.write(lambda conn: lead(conn, database, job, to=JobState.GENERATING))
    require_error(await soon(request), 401)


async def test_wait__ends_when_the_job_is_deleted(client: httpx2.AsyncClient, database: Database, me: Caller) -> None:
    job = make_job(database, me)
    request = asyncio.ensure_future(client.get(f"/v1/jobs/{job.id}?wait=60"))
    await asleep(database)
    with database.transaction() as conn:
        canceled = jobs.cancel(conn, job.id, owner=me.owner, now=database.now(conn))
        endings.scrub(conn, canceled, now=database.now(conn))
    database.signals.wake_all()
    require_error(await soon(request), 404)


async def test_wait__ends_when_the_house_closes(
    client: httpx2.AsyncClient, database: Database, me: Caller, house: House
) -> None:
    job = make_job(database, me)
    request = asyncio.ensure_future(client.get(f"/v1/jobs/{job.id}?wait=60"))
    await asleep(database)
    house.closing.set()
    database.signals.wake_all()
    assert (await soon(request)).json()["status"] == "queued"


@one_database
@pytest.mark.parametrize("wait", ["61", "-1", "soon", "1.5", ""])
async def test_wait__out_of_its_range_is_refused(
    client: httpx2.AsyncClient, database: Database, me: Caller, wait: str
) -> None:
    job = make_job(database, me)
    require_error(await client.get(f"/v1/jobs/{job.id}?wait={wait}"), 400, param="wait")


@one_database
@pytest.mark.parametrize("prefer", ["wait", "wait=", "wait=-1", "wait=soon", "waiting=5", "wait=0"])
async def test_prefer__that_cannot_be_understood_is_ignored(
    client: httpx2.AsyncClient, database: Database, me: Caller, prefer: str
) -> None:
    job = make_job(database, me)
    response = await client.get(f"/v1/jobs/{job.id}", headers={"Prefer": prefer})
    assert response.status_code == 200 and "preference-applied" not in response.headers


@one_database
async def test_prefer__is_capped_at_a_minute(client: httpx2.AsyncClient, database: Database, me: Caller) -> None:
    job = make_job(database, me, state=JobState.FAILED)
    response = await client.get(f"/v1/jobs/{job.id}", headers={"Prefer": "respond-async; x=1, wait=600"})
    assert response.headers["preference-applied"] == "wait=60"


async def test_read__others_jobs_answer_as_unknown_ids_do(
    client: httpx2.AsyncClient, client_for: ClientFor, database: Database, me: Caller
) -> None:
    ann, ann_secret = make_caller(database, subject="ann")
    stranger, _ = make_caller(database, project="others")
    unknown = "job_" + "0" * 32
    mine, anns, strangers = (make_job(database, owner).id for owner in (me, ann, stranger))
    as_ann = client_for(ann_secret)
    hidden = [(client, strangers), (client, unknown), (as_ann, strangers), (as_ann, mine), (as_ann, unknown)]
    answers = set()
    for caller, job_id in hidden:
        for method, path in (
            ("GET", ""),
            ("DELETE", ""),
            ("POST", "/cancel"),
            ("POST", "/retry"),
            ("GET", "/events"),
            ("GET", "/content"),
        ):
            error = require_error(await caller.request(method, f"/v1/jobs/{job_id}{path}"), 404)
            answers.add((error["type"], error["code"], error["message"].replace(job_id, "ID"), error["param"]))
    assert len(answers) == 1
    # Whoever has no subject sees the whole project, Ann her own.
    assert (await client.get(f"/v1/jobs/{anns}")).json()["subject"] == "ann"
    assert [job["id"] for job in (await as_ann.get("/v1/jobs")).json()["data"]] == [anns]
    assert {job["id"] for job in (await client.get("/v1/jobs")).json()["data"]} == {mine, anns}


async def test_create__belongs_to_the_keys_subject(client_for: ClientFor, database: Database) -> None:
    _, secret = make_caller(database, subject="ann")
    assert (await client_for(secret).post("/v1/jobs", json={"input": INPUT})).json()["subject"] == "ann"


@pytest.mark.parametrize(
    "job_id", ["x", "job_", "job_%00", "job_%ED%A0%80", "job_" + "9" * 300, "..%2f..", "%F0%9F%90%88"]
)
async def test_read__odd_ids_are_unknown(client: httpx2.AsyncClient, job_id: str) -> None:
    require_error(await client.get(f"/v1/jobs/{job_id}"), 404)


async def test_events__tell_what_happened_in_pages(client: httpx2.AsyncClient, database: Database, me: Caller) -> None:
    job = make_job(database, me, state=JobState.SUCCEEDED)
    url = f"/v1/jobs/{job.id}/events"
    whole = (await client.get(url)).json()
    assert [event["type"] for event in whole["data"]] == [
        "job.created",
        "job.submitting",
        "job.started",
        "job.saving",
        "job.succeeded",
    ]
    assert (whole["object"], whole["has_more"]) == ("list", False)
    assert whole["data"][0]["data"] == {"job_id": job.id, "status": "queued", "state": "queued"}
    first = (await client.get(url, params={"limit": 2})).json()
    assert (first["data"], first["has_more"]) == (whole["data"][:2], True)
    for after in ("2", first["data"][-1]["id"]):
        rest = (await client.get(url, params={"after": after})).json()
        assert (rest["data"], rest["has_more"]) == (whole["data"][2:], False)


@pytest.mark.parametrize("after", ["evt_0", "x", "-1", "99999999999999999999", "²", ""])
async def test_events__a_bad_cursor_is_refused(
    client: httpx2.AsyncClient, database: Database, me: Caller, after: str
) -> None:
    job, other = make_job(database, me), make_job(database, me)
    cursors = [after, (await client.get(f"/v1/jobs/{other.id}/events")).json()["data"][0]["id"]]
    for cursor in cursors:
        refused = await client.get(f"/v1/jobs/{job.id}/events", params={"after": cursor})
        require_error(refused, 400, code="invalid_cursor", param="after")
