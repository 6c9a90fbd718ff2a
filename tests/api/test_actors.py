"""Every change says who made it: once, in its transaction, and nothing else does."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from app.api.callers import Caller
from app.api.deps import House
from app.db import access, jobs, tokens
from app.db.acts import acts
from app.db.engine import Database
from app.db.tables import deliveries, events
from app.db.tokens import Grant
from app.domain.secrets import Scope
from app.domain.states import JobState
from app.domain.webhooks import Delivery
from app.workers.sweep import Sweeper
from tests.api.conftest import ClientFor, count, require_error
from tests.api.test_access_matrix import AIMLAPI, FILE, HOOK, JOB, PROJECT, ROUTES, VIDEO_FACE, Needs
from tests.conftest import Clock, one_database
from tests.factories import lead, make_caller, make_job, picture, video_of

BODY = {"model": "veo2", "input": {"prompt": "A boat"}}
FLAT = {"model": "veo2", "prompt": "A boat"}
HOOKED = {"url": "https://93.184.216.34/hook", "events": ["job.created"]}
PICTURE = {"file": ("a.jpg", picture())}
REQUEST_ID = "the-one-request"
PEER = "203.0.113.7"


@dataclass
class Scene:
    """What a recipe makes its things with, in the name of somebody else."""

    database: Database
    other: httpx2.AsyncClient
    caller: Caller

    def job(self, state: JobState) -> str:
        return make_job(self.database, self.caller, state=state, settled=True).id

    async def made(self, path: str, **sent: Any) -> str:
        answer = await self.other.post(path, **sent)
        assert answer.status_code == 201, answer.text
        id_: str = answer.json()["id"]
        return id_


Asked = tuple[str, dict[str, Any]]
Recipe = Callable[[Scene], Awaitable[Asked]]


def to(path: str, **sent: Any) -> Recipe:
    """A request that needs nothing to be there before."""

    async def ask(_scene: Scene) -> Asked:
        return path, sent

    return ask


def on_a_job(state: JobState, path: str, **sent: Any) -> Recipe:
    async def ask(scene: Scene) -> Asked:
        number = scene.job(state).removeprefix("job_")
        return path.format(job_id=f"job_{number}", video_id=f"video_{number}"), sent

    return ask


async def delete_a_file(scene: Scene) -> Asked:
    return FILE.format(file_id=await scene.made("/v1/files", files=PICTURE)), {}


async def revoke_a_token(scene: Scene) -> Asked:
    return f"/v1/tokens/{await scene.made('/v1/tokens')}", {}


def on_a_hook(path: str, **sent: Any) -> Recipe:
    async def ask(scene: Scene) -> Asked:
        return path.format(webhook_id=await scene.made("/v1/webhooks", json=HOOKED)), sent

    return ask


async def send_again(scene: Scene) -> Asked:
    hook = await scene.made("/v1/webhooks", json=HOOKED)
    scene.job(JobState.QUEUED)
    [owed] = (await scene.other.get(f"/v1/webhooks/{hook}/deliveries")).json()["data"]
    with scene.database.transaction() as conn:
        ended = {"state": Delivery.FAILED, "tries": 8, "finished_at": scene.database.now(conn)}
        conn.execute(deliveries.update().values(**ended))
    return f"/v1/webhooks/{hook}/deliveries/{owed['id']}/redeliver", {}


async def send_again_as_operator(scene: Scene) -> Asked:
    path, sent = await send_again(scene)
    return f"/v1/admin/deliveries{path.partition('/deliveries')[2]}", sent


def on_my_project(path: str, **sent: Any) -> Recipe:
    async def ask(scene: Scene) -> Asked:
        return path.format(project_id=scene.caller.key.project_id, key_id=scene.caller.key.id), sent

    return ask


CHANGES: dict[tuple[str, str], Recipe] = {
    ("POST", "/v1/jobs"): to("/v1/jobs", json=BODY),
    ("DELETE", JOB): on_a_job(JobState.SUCCEEDED, JOB),
    ("POST", f"{JOB}/cancel"): on_a_job(JobState.QUEUED, f"{JOB}/cancel"),
    ("POST", f"{JOB}/retry"): on_a_job(JobState.FAILED, f"{JOB}/retry"),
    ("POST", "/v1/videos"): to("/v1/videos", json={"prompt": "A boat", "model": "veo2"}),
    ("DELETE", VIDEO_FACE): on_a_job(JobState.SUCCEEDED, VIDEO_FACE),
    ("POST", f"{VIDEO_FACE}/remix"): on_a_job(JobState.SUCCEEDED, f"{VIDEO_FACE}/remix", json={"prompt": "Two boats"}),
    **{("POST", path): to(path, json=FLAT) for path in AIMLAPI},
    ("POST", "/v1/files"): to("/v1/files", files=PICTURE),
    ("DELETE", FILE): delete_a_file,
    ("POST", "/v1/tokens"): to("/v1/tokens", json={"max_jobs": 1}),
    ("DELETE", "/v1/tokens/{token_id}"): revoke_a_token,
    ("POST", "/v1/webhooks"): to("/v1/webhooks", json=HOOKED),
    ("PATCH", HOOK): on_a_hook(HOOK, json={"enabled": False}),
    ("DELETE", HOOK): on_a_hook(HOOK),
    ("POST", f"{HOOK}/rotate-secret"): on_a_hook(f"{HOOK}/rotate-secret"),
    ("POST", f"{HOOK}/test"): on_a_hook(f"{HOOK}/test"),
    ("POST", f"{HOOK}/deliveries/{{delivery_id}}/redeliver"): send_again,
    ("POST", "/v1/admin/jobs/{job_id}/resolve"): on_a_job(
        JobState.UNCONFIRMED, "/v1/admin/jobs/{job_id}/resolve", json={"action": "give_up"}
    ),
    ("POST", "/v1/admin/upstream/pause"): to("/v1/admin/upstream/pause", json={"reason": "Too dear."}),
    ("POST", "/v1/admin/upstream/resume"): to("/v1/admin/upstream/resume"),
    ("POST", "/v1/admin/projects"): to("/v1/admin/projects", json={"name": "news"}),
    ("PATCH", PROJECT): on_my_project(PROJECT, json={"max_in_flight": 2}),
    ("POST", f"{PROJECT}/archive"): on_my_project(f"{PROJECT}/archive"),
    ("POST", f"{PROJECT}/keys"): on_my_project(f"{PROJECT}/keys", json={"name": "laptop"}),
    ("DELETE", "/v1/admin/keys/{key_id}"): on_my_project("/v1/admin/keys/{key_id}"),
    ("POST", "/v1/admin/deliveries/{delivery_id}/redeliver"): send_again_as_operator,
}
"""How each route that changes something is made to."""
CHANGE_NOTHING = (
    ("POST", "/v1/jobs/estimate"),
    *(("POST", f"/v1/videos/{what}") for what in ("edits", "extensions", "characters")),
)


def record(database: Database) -> dict[str, Any]:
    """Return the actor of every event and act by its id."""
    with database.transaction() as conn:
        return {row.id: row.actor for table in (events, acts) for row in conn.execute(sa.select(table))}


@pytest.fixture
def scene(database: Database, client_for: ClientFor) -> Scene:
    other, secret = make_caller(database, subject="ann")
    return Scene(database, client_for(secret), other)


@pytest.fixture
def client_at(client_for: ClientFor, app: Any) -> ClientFor:
    """A client at an address of its own."""

    def make(secret: str) -> httpx2.AsyncClient:
        client = client_for(secret)
        client._transport = httpx2.ASGITransport(app=app, client=(PEER, 4711))
        client.headers["x-request-id"] = REQUEST_ID
        return client

    return make


def token_of(database: Database, caller: Caller) -> tuple[tokens.Token, str]:
    with database.transaction() as conn:
        return tokens.mint(conn, caller.key, Grant(lifetime=timedelta(hours=1)), now=database.now(conn))


def test_changes__are_all_known() -> None:
    """A new route that may change something is named in one of the two, or this fails."""
    may_change = {route for route in ROUTES if route[0] not in ("GET", "HEAD")}
    assert may_change == CHANGES.keys() | CHANGE_NOTHING


@pytest.mark.parametrize(
    ("route", "with_token"),
    [(route, by) for route in CHANGES for by in (False, True) if not by or ROUTES[route] is Needs.WRITE],
)
async def test_change__names_its_one_actor(
    scene: Scene, client_at: ClientFor, database: Database, route: tuple[str, str], with_token: bool
) -> None:
    mine, secret = make_caller(database, subject="ann", scopes=frozenset({Scope.ADMIN}))
    expected = {"key_id": mine.key.id, "subject": "ann", "request_id": REQUEST_ID, "address": PEER}
    if with_token:
        token, secret = token_of(database, mine)
        expected |= {"token_id": token.id}
    path, sent = await CHANGES[route](scene)
    before = record(database)
    answer = await client_at(secret).request(route[0], path, **sent)
    assert answer.is_success, answer.text
    after = record(database)
    written = [after[id_] for id_ in after.keys() - before.keys()]
    assert written
    assert all(actor == expected for actor in written), written
    assert after | before == after


@one_database
@pytest.mark.parametrize("route", [*CHANGE_NOTHING, *(route for route in ROUTES if route[0] == "GET")], ids=" ".join)
async def test_record__what_changes_nothing_leaves_it(
    scene: Scene, client_at: ClientFor, database: Database, route: tuple[str, str]
) -> None:
    _, secret = make_caller(database, scopes=frozenset({Scope.ADMIN}))
    job_id = scene.job(JobState.SUCCEEDED)
    path = route[1].replace("{job_id}", job_id).replace("{video_id}", job_id.replace("job_", "video_"))
    before = record(database)
    await client_at(secret).request(route[0], path, json=BODY if route[0] == "POST" else None)
    assert record(database) == before


@pytest.mark.parametrize("route", CHANGES, ids=" ".join)
async def test_record__a_refusal_leaves_it(
    scene: Scene, client_at: ClientFor, database: Database, route: tuple[str, str]
) -> None:
    """By a credential without the right, from another project, and of a body that is wrong."""
    path, sent = await CHANGES[route](scene)
    reader, lacking = make_caller(database, scopes=frozenset({Scope.JOBS_READ}))
    if ROUTES[route] is Needs.KEY:
        _, lacking = token_of(database, reader)
    before = record(database)
    assert (await client_at(lacking).request(route[0], path, **sent)).status_code == 403
    _, stranger = make_caller(database, project="others", scopes=frozenset({Scope.ADMIN}))
    if "{" in route[1] and ROUTES[route] is not Needs.ADMIN:
        assert (await client_at(stranger).request(route[0], path, **sent)).status_code == 404
    if "json" in sent:
        assert (await client_at(stranger).request(route[0], path, json={"nonsense": 1})).status_code in (400, 404)
    assert record(database) == before


@pytest.mark.parametrize(
    ("path", "sent"), [("/v1/jobs", {"json": BODY}), ("/v1/files", {"files": PICTURE}), ("/v1/tokens", {})]
)
async def test_record__a_replay_leaves_it(
    client: httpx2.AsyncClient, database: Database, path: str, sent: dict[str, Any]
) -> None:
    headers = {"Idempotency-Key": "k"}
    assert (await client.post(path, headers=headers, **sent)).status_code == 201
    before = record(database)
    assert len(before) == 1
    again = await client.post(path, headers=headers, **sent)
    assert again.status_code == (409 if path == "/v1/tokens" else 201)
    assert record(database) == before


async def test_record__a_change_that_was_made_already_leaves_it(scene: Scene, database: Database) -> None:
    job_id, token_id = scene.job(JobState.QUEUED), await scene.made("/v1/tokens")
    for again in (False, True):
        before = record(database)
        assert (await scene.other.post(f"/v1/jobs/{job_id}/cancel")).status_code == 200
        assert (await scene.other.delete(f"/v1/tokens/{token_id}")).status_code == 204
        assert len(record(database)) - len(before) == (0 if again else 2)


async def test_record__a_retry_that_is_under_way_leaves_it(scene: Scene, database: Database) -> None:
    path = f"/v1/jobs/{scene.job(JobState.FAILED)}/retry"
    assert (await scene.other.post(path)).status_code == 201
    before = record(database)
    assert (await scene.other.post(path)).status_code == 200
    assert record(database) == before


async def test_record__what_is_undone_leaves_it(scene: Scene, database: Database) -> None:
    """The job and its event are written before the budget says no."""
    with database.transaction() as conn:
        access.limit_project(conn, "films", monthly_budget_micros=1)
    require_error(await scene.other.post("/v1/jobs", json=BODY), 429, code="insufficient_quota")
    assert record(database) == {}


async def test_reuse__names_its_actor_in_both_events(
    scene: Scene, client_at: ClientFor, database: Database, house: House
) -> None:
    seeded = {"model": "veo2", "input": {"prompt": "A boat", "seed": 7}}
    job_id = (await scene.other.post("/v1/jobs", json=seeded)).json()["id"]
    with database.transaction() as conn:
        job = jobs.get(conn, job_id, owner=scene.caller.owner)
        for state in (JobState.SUBMITTING, JobState.GENERATING, JobState.SAVING, JobState.SUCCEEDED):
            job = lead(conn, database, job, to=state)
    for name in ("key", "poster_key"):
        await house.store.put_bytes(video_of(job)[name], b"bytes", content_type="video/mp4")
    mine, secret = make_caller(database, subject="ann")
    before = record(database)
    again = await client_at(secret).post("/v1/jobs", json=seeded | {"reuse": True})
    assert again.json()["reused_from"] == job_id
    written = [actor for id_, actor in record(database).items() if id_ not in before]
    assert written == [{"key_id": mine.key.id, "subject": "ann", "request_id": REQUEST_ID, "address": PEER}] * 2


async def test_timeline__says_by_whom_without_address_or_request(scene: Scene, database: Database) -> None:
    _, secret = token_of(database, scene.caller)
    made = await scene.other.post("/v1/jobs", json=BODY, headers={"Authorization": f"Bearer {secret}"})
    path = f"/v1/jobs/{made.json()['id']}"
    await scene.other.post(f"{path}/cancel")
    created, canceled = (await scene.other.get(f"{path}/events")).json()["data"]
    key_id = scene.caller.key.id
    assert created["by"]["token_id"].startswith("tok_")
    assert created["by"] | {"token_id": None} == {
        "key_id": key_id,
        "token_id": None,
        "subject": "ann",
        "on_host": False,
    }
    assert canceled["by"] == {"key_id": key_id, "token_id": None, "subject": "ann", "on_host": False}


@one_database
async def test_timeline__what_the_service_does_is_by_nobody(scene: Scene) -> None:
    shown = await scene.other.get(f"/v1/jobs/{scene.job(JobState.GENERATING)}/events")
    assert [event["by"] for event in shown.json()["data"]] == [None] * 3


async def test_delete__keeps_who_did_what(scene: Scene, database: Database) -> None:
    made = await scene.other.post("/v1/jobs", json=BODY)
    job_id = made.json()["id"]
    await scene.other.post(f"/v1/jobs/{job_id}/cancel")
    assert (await scene.other.delete(f"/v1/jobs/{job_id}")).status_code == 204
    with database.transaction() as conn:
        rows = conn.execute(sa.select(events).where(events.c.job_id == job_id).order_by(events.c.n)).all()
    assert [row.type for row in rows] == ["job.created", "job.canceled", "job.deleted"]
    assert {row.actor["key_id"] for row in rows} == {scene.caller.key.id}
    assert json.dumps([row.data for row in rows]) == "[{}, {}, {}]"


@one_database
async def test_sweep__forgets_acts_after_a_year(
    scene: Scene, database: Database, house_sweeper: Sweeper, clock: Clock
) -> None:
    await scene.made("/v1/tokens")
    clock.move(days=365)
    await house_sweeper.run_once()
    assert count(database, "acts") == 1
    clock.move(days=1)
    await house_sweeper.run_once()
    assert count(database, "acts") == 0
