"""/v1/webhooks, and the URL that a job brings along. What is sent is tested with the worker."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from app.api.callers import Caller
from app.api.deps import House
from app.db import access, tokens, webhooks
from app.db.engine import Database
from app.db.tables import deliveries
from app.db.tables import jobs as jobs_table
from app.db.tables import webhooks as table
from app.db.tokens import Grant
from app.domain.job import Job
from app.domain.secrets import Scope
from app.domain.states import JobState
from app.domain.webhooks import Delivery
from app.outbound.guard import Guard
from tests.api.conftest import ClientFor, count, require_error
from tests.conftest import one_database
from tests.factories import INPUT, MODEL, make_caller, make_job

URL = "https://93.184.216.34/hook"
BODY = {"model": MODEL, "input": INPUT}
INSIDE = [
    *(
        "http://127.0.0.1/",
        "http://localhost.:22/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://2130706433/",
    ),
    *("http://0x7f.1/", "http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "http://[64:ff9b::7f00:1]/"),
    *("https://user:pw@example.com/", "http://example.com\\@127.0.0.1/", "https://example.com:5432/", "http:///x"),
]


async def made(client: httpx2.AsyncClient, **wish: Any) -> dict[str, Any]:
    answer = await client.post("/v1/webhooks", json={"url": URL} | wish)
    assert answer.status_code == 201, answer.text
    hook: dict[str, Any] = answer.json()
    return hook


async def test_create__shows_the_secret_once_and_keeps_it_sealed(
    client: httpx2.AsyncClient, database: Database
) -> None:
    answer = await client.post("/v1/webhooks", json={"url": URL, "events": ["job.failed", "job.failed"]})
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    hook = answer.json()
    secret = hook.pop("secret")
    assert secret.startswith("whsec_")
    assert (hook["url"], hook["events"], hook["status"], hook["subject"]) == (URL, ["job.failed"], "enabled", None)
    assert (await client.get(f"/v1/webhooks/{hook['id']}")).json() == hook
    assert (await client.get("/v1/webhooks")).json()["data"] == [hook]
    with database.transaction() as conn:
        row = conn.execute(sa.select(table)).one()
    assert secret.removeprefix("whsec_") not in repr(row)


@pytest.mark.parametrize("url", [*INSIDE, "ftp://example.com/", "example.com", "https://example.com/" + "x" * 2048])
@one_database
async def test_create__refuses_what_is_not_called(client: httpx2.AsyncClient, database: Database, url: str) -> None:
    require_error(await client.post("/v1/webhooks", json={"url": url}), 400, param="url")
    hook = await made(client)
    require_error(await client.patch(f"/v1/webhooks/{hook['id']}", json={"url": url}), 400, param="url")
    given = require_error(await client.post("/v1/jobs", json=BODY | {"webhook_url": url}), 400, param="webhook_url")
    assert given["code"] == "invalid_webhook_url"
    assert (count(database, "webhooks"), count(database, "jobs")) == (1, 0)


@one_database
async def test_create__refuses_a_name_that_leads_inside(
    app: FastAPI, client: httpx2.AsyncClient, house: House, database: Database
) -> None:
    async def resolver(host: str, _port: int) -> Sequence[str]:
        if host == "nowhere.example":
            raise OSError("no such name")
        return ["93.184.216.34", "10.0.0.7"]

    app.state.house = replace(house, guard=Guard(resolver=resolver))
    error = require_error(
        await client.post("/v1/webhooks", json={"url": "https://inside.example/"}), 400, code="invalid_webhook_url"
    )
    assert "10.0.0.7" not in error["message"]
    await made(client, url="https://nowhere.example/")
    assert count(database, "webhooks") == 1


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({}, "url"),
        ({"url": 7}, "url"),
        ({"url": URL, "events": []}, "events"),
        ({"url": URL, "events": ["job.progress"]}, "events.0"),
        ({"url": URL, "events": ["job.saving"]}, "events.0"),
        ({"url": URL, "secret": "whsec_x"}, "secret"),
    ],
)
@one_database
async def test_create__a_wish_that_makes_no_sense_is_refused(
    client: httpx2.AsyncClient, database: Database, wish: dict[str, Any], param: str
) -> None:
    require_error(await client.post("/v1/webhooks", json=wish), 400, param=param)
    assert count(database, "webhooks") == 0


async def test_create__again_with_its_key_makes_nothing_and_tells_nothing(
    client: httpx2.AsyncClient, database: Database
) -> None:
    key = {"Idempotency-Key": "hook-1"}
    first = await client.post("/v1/webhooks", json={"url": URL}, headers=key)
    assert first.status_code == 201
    again = await client.post("/v1/webhooks", json={"url": URL}, headers=key)
    require_error(again, 409, code="secret_already_shown")
    assert "whsec_" not in again.text
    other = await client.post("/v1/webhooks", json={"url": URL + "2"}, headers=key)
    require_error(other, 422, code="idempotency_key_reused")
    assert count(database, "webhooks") == 1
    assert (await client.delete(f"/v1/webhooks/{first.json()['id']}")).status_code == 204
    gone = await client.post("/v1/webhooks", json={"url": URL}, headers=key)
    require_error(gone, 410)


@one_database
async def test_create__has_an_end(client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "MOST", 2)
    await made(client)
    await made(client)
    require_error(await client.post("/v1/webhooks", json={"url": URL}), 409, code="too_many_webhooks")


@one_database
async def test_create__not_in_an_archived_project(client: httpx2.AsyncClient, database: Database) -> None:
    with database.transaction() as conn:
        access.archive_project(conn, "films", now=database.now(conn))
    require_error(await client.post("/v1/webhooks", json={"url": URL}), 403, code="project_archived")


async def test_update__changes_what_is_given(client: httpx2.AsyncClient) -> None:
    hook = await made(client, events=["job.failed"])
    path = f"/v1/webhooks/{hook['id']}"
    off = (await client.patch(path, json={"enabled": False})).json()
    assert (off["status"], off["disabled_reason"], off["events"]) == ("disabled", "by_request", ["job.failed"])
    assert off["disabled_at"] is not None
    on = (await client.patch(path, json={"enabled": True, "events": None, "url": f"{URL}/2"})).json()
    assert (on["status"], on["disabled_at"], on["events"], on["url"]) == ("enabled", None, None, f"{URL}/2")
    assert (await client.patch(path, json={})).json() == on
    require_error(await client.patch(path, json={"secret": "x"}), 400, code="unknown_field")


@one_database
async def test_list__pages(client: httpx2.AsyncClient) -> None:
    ids = [(await made(client))["id"] for _ in range(3)]
    first = (await client.get("/v1/webhooks?limit=2")).json()
    assert ([hook["id"] for hook in first["data"]], first["has_more"]) == ([ids[2], ids[1]], True)
    second = (await client.get(f"/v1/webhooks?limit=2&after={first['last_id']}")).json()
    assert ([hook["id"] for hook in second["data"]], second["has_more"]) == ([ids[0]], False)
    require_error(await client.get("/v1/webhooks?after=hook_0"), 400, code="invalid_cursor")


async def test_default_secret__stays_the_same_until_it_is_rotated(client: httpx2.AsyncClient) -> None:
    require_error(await client.get("/v1/webhooks/default/deliveries"), 404)
    answers = [await client.get("/v1/webhooks/default/secret") for _ in range(2)]
    assert [answer.headers["cache-control"] for answer in answers] == ["no-store"] * 2
    first, again = (answer.json() for answer in answers)
    assert first == again
    assert first["secret"].startswith("whsec_")
    rotated = (await client.post("/v1/webhooks/default/rotate-secret")).json()
    assert rotated["secret"] != first["secret"]
    assert rotated["previous_secret_until"] is not None
    assert (await client.get("/v1/webhooks/default/secret")).json() == rotated
    assert (await client.get("/v1/webhooks")).json()["data"] == []
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/test")):
        require_error(await client.request(method, f"/v1/webhooks/default{path}"), 404)


@one_database
async def test_default_secret__that_cannot_be_read_says_what_to_do(
    app: FastAPI, client: httpx2.AsyncClient, house: House
) -> None:
    await client.get("/v1/webhooks/default/secret")
    app.state.house = replace(house, signer=replace(house.signer, secret=b"another"))
    require_error(await client.get("/v1/webhooks/default/secret"), 409, code="secret_unreadable")
    fresh = (await client.post("/v1/webhooks/default/rotate-secret")).json()
    assert (await client.get("/v1/webhooks/default/secret")).json() == fresh


async def test_job__owes_its_own_url_and_every_endpoint(client: httpx2.AsyncClient, database: Database) -> None:
    hook = await made(client)
    job = (await client.post("/v1/jobs", json=BODY | {"webhook_url": f"{URL}/own"})).json()
    assert job["status"] == "queued", job
    [mine] = (await client.get(f"/v1/webhooks/{hook['id']}/deliveries")).json()["data"]
    [own] = (await client.get("/v1/webhooks/default/deliveries")).json()["data"]
    assert mine["event_id"] == own["event_id"]
    assert (own["event_type"], own["job_id"], own["status"]) == ("job.created", job["id"], "owed")
    assert own["attempts"] == [] and own["next_attempt_at"] == own["created_at"]
    with database.transaction() as conn:
        urls = conn.execute(sa.select(deliveries.c.url).order_by(deliveries.c.id)).scalars().all()
    assert sorted(map(str, urls)) == sorted(["None", f"{URL}/own"])


@one_database
async def test_job__takes_its_url_from_every_form(client: httpx2.AsyncClient, database: Database) -> None:
    form = {"prompt": "A boat", "image_url": INPUT["image_url"], "webhook_url": URL}
    parts = {name: (None, value) for name, value in form.items()}
    face = {"prompt": "A boat", "model": "veo2", "webhook_url": URL}
    answers = [
        await client.post("/v1/jobs", files=parts),
        await client.post("/v1/videos", json=face),
        await client.post("/v1/videos", files={name: (None, value) for name, value in face.items()}),
    ]
    assert [answer.status_code for answer in answers] == [201, 200, 200], [answer.text for answer in answers]
    with database.transaction() as conn:
        assert conn.execute(sa.select(jobs_table.c.webhook_url)).scalars().all() == [URL] * 3


@one_database
async def test_job__made_with_a_client_token_names_no_url(
    client_for: ClientFor, me: Caller, database: Database
) -> None:
    with database.transaction() as conn:
        _, secret = tokens.mint(conn, me.key, Grant(lifetime=timedelta(hours=1)), now=database.now(conn))
    client = client_for(secret)
    for path in ("/v1/jobs", "/v1/jobs/estimate"):
        answer = await client.post(path, json=BODY | {"webhook_url": URL})
        require_error(answer, 403, code="key_required", param="webhook_url")
    assert count(database, "jobs") == 0
    assert (await client.post("/v1/jobs", json=BODY)).status_code == 201


async def test_retry__takes_the_url_along(client: httpx2.AsyncClient, me: Caller, database: Database) -> None:
    await client.get("/v1/webhooks/default/secret")
    job = make_job(database, me, state=JobState.FAILED, webhook_url=URL)
    again = (await client.post(f"/v1/jobs/{job.id}/retry")).json()
    listed = (await client.get("/v1/webhooks/default/deliveries")).json()["data"]
    assert [delivery["event_type"] for delivery in listed if delivery["job_id"] == again["id"]] == ["job.created"]


async def test_delete__leaves_no_url_of_the_job(client: httpx2.AsyncClient, me: Caller, database: Database) -> None:
    job = make_job(database, me, state=JobState.FAILED, webhook_url=f"{URL}?token=abc")
    assert (await client.delete(f"/v1/jobs/{job.id}")).status_code == 204
    with database.transaction() as conn:
        assert conn.execute(sa.select(jobs_table.c.webhook_url)).scalar_one() is None


async def test_test__owes_one_event(client: httpx2.AsyncClient) -> None:
    hook = await made(client, events=["job.failed"])
    answer = await client.post(f"/v1/webhooks/{hook['id']}/test")
    assert answer.status_code == 202
    owed = answer.json()
    assert (owed["event_type"], owed["job_id"], owed["status"]) == ("webhook.test", None, "owed")
    assert (await client.get(f"/v1/webhooks/{hook['id']}/deliveries")).json()["data"] == [owed]


async def test_deliveries__page_and_are_sent_again(client: httpx2.AsyncClient, me: Caller, database: Database) -> None:
    hook = await made(client, events=["job.created"])
    jobs: list[Job] = [make_job(database, me) for _ in range(3)]
    path = f"/v1/webhooks/{hook['id']}/deliveries"
    first = (await client.get(f"{path}?limit=2")).json()
    assert ([owed["job_id"] for owed in first["data"]], first["has_more"]) == ([jobs[2].id, jobs[1].id], True)
    rest = (await client.get(f"{path}?after={first['last_id']}")).json()
    assert ([owed["job_id"] for owed in rest["data"]], rest["has_more"]) == ([jobs[0].id], False)
    require_error(await client.get(f"{path}?after=dlv_0"), 400, code="invalid_cursor")
    ended = {"state": Delivery.FAILED, "tries": 8, "finished_at": hook["created_at"]}
    with database.transaction() as conn:
        ended["finished_at"] = database.now(conn)
        conn.execute(deliveries.update().values(**ended))
    again = await client.post(f"{path}/{rest['last_id']}/redeliver")
    assert (again.status_code, again.json()["status"], again.json()["finished_at"]) == (202, "owed", None)
    require_error(await client.post(f"{path}/dlv_0/redeliver"), 404)
    other = await made(client)
    require_error(await client.post(f"/v1/webhooks/{other['id']}/deliveries/{rest['last_id']}/redeliver"), 404)
    await client.patch(f"/v1/webhooks/{hook['id']}", json={"enabled": False})
    require_error(await client.post(f"{path}/{rest['last_id']}/redeliver"), 409, code="webhook_disabled")


@one_database
async def test_subject__sees_its_own_endpoints_and_deliveries(
    client: httpx2.AsyncClient, client_for: ClientFor, database: Database
) -> None:
    ann, anns = make_caller(database, subject="ann")
    bob, bobs = make_caller(database, subject="bob")
    for_ann, for_bob = client_for(anns), client_for(bobs)
    hook = await made(for_ann)
    everybodys = await made(client)
    assert hook["subject"] == "ann"
    assert [found["id"] for found in (await for_ann.get("/v1/webhooks")).json()["data"]] == [hook["id"]]
    assert (await for_bob.get("/v1/webhooks")).json()["data"] == []
    assert len((await client.get("/v1/webhooks")).json()["data"]) == 2
    require_error(await for_ann.get(f"/v1/webhooks/{everybodys['id']}"), 404)
    await for_ann.get("/v1/webhooks/default/secret")
    jobs = {caller.key.subject: make_job(database, caller, webhook_url=URL).id for caller in (ann, bob)}
    listed = (await for_ann.get("/v1/webhooks/default/deliveries")).json()["data"]
    assert [owed["job_id"] for owed in listed] == [jobs["ann"]]
    require_error(await for_ann.post("/v1/webhooks/default/rotate-secret"), 403)


@one_database
async def test_scopes__who_may_not_read_jobs_has_none_sent(client_for: ClientFor, database: Database) -> None:
    _, secret = make_caller(database, scopes=frozenset({Scope.JOBS_WRITE}))
    error = require_error(await client_for(secret).post("/v1/webhooks", json={"url": URL}), 403, code="missing_scope")
    assert "jobs:read" in error["message"]
