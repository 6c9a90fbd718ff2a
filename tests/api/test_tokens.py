"""/v1/tokens, and what a client token can do: less than its key, for a while, and never more than its caps."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from app.api.callers import Caller
from app.api.deps import House
from app.db import access, deployment, tokens
from app.db.engine import Database
from app.db.signals import job_topic
from app.domain.secrets import Scope
from app.domain.states import JobState
from tests.api.conftest import ClientFor, Ticks, asleep, count, require_error
from tests.conftest import Clock, one_database
from tests.factories import INPUT, MODEL, VIDEO, make_caller, make_job, picture, video_of

PRICE = {MODEL: {"kind": "fixed", "units": [{"measure": "video", "price": "2.5", "per": "1"}]}}
PAGE = "https://app.example"
BODY = {"model": MODEL, "input": INPUT}


async def mint(client: httpx2.AsyncClient, **wish: Any) -> dict[str, Any]:
    answer = await client.post("/v1/tokens", json=wish)
    assert answer.status_code == 201, answer.text
    minted: dict[str, Any] = answer.json()
    return minted


async def listed(client: httpx2.AsyncClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get("/v1/tokens")).json()["data"]
    return found


@one_database
async def test_mint__shows_the_secret_once(client: httpx2.AsyncClient, me: Caller) -> None:
    wish = {"models": ["veo2"], "max_jobs": 3, "max_cost_usd": 7.5, "origins": [f"{PAGE}:443"], "subject": "user-42"}
    answer = await client.post("/v1/tokens", json=wish | {"ttl_seconds": 60.0, "scopes": ["jobs:read"]})
    minted = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    assert minted.pop("token").startswith("rlt_")
    assert minted["expires_at"][:16] >= minted["created_at"][:16]
    assert minted.items() >= (wish | {"origins": [PAGE], "scopes": ["jobs:read"], "key_id": me.key.id}).items()
    assert await listed(client) == [minted | {"jobs_made": 0, "cost_usd": 0.0}]


@one_database
async def test_mint__needs_no_body(client: httpx2.AsyncClient) -> None:
    minted = (await client.post("/v1/tokens")).json()
    assert minted["scopes"] == ["jobs:read", "jobs:write"]
    assert minted["subject"] == minted["id"]


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({"ttl_seconds": 3601}, "ttl_seconds"),
        ({"ttl_seconds": 0}, "ttl_seconds"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["jobs:fly"]}, "scopes.0"),
        ({"models": ["veo2", "no-such"]}, "models.1"),
        ({"models": []}, "models"),
        ({"max_jobs": 0}, "max_jobs"),
        ({"max_cost_usd": 0}, "max_cost_usd"),
        ({"origins": ["*"]}, "origins.0"),
        ({"origins": ["null"]}, "origins.0"),
        ({"origins": [f"{PAGE}/page"]}, "origins.0"),
        ({"subject": ""}, "subject"),
        ({"subject": "a\0"}, ...),
        ({"max_cost": 1}, "max_cost"),
    ],
)
@one_database
async def test_mint__a_wish_that_makes_no_sense_is_refused(
    client: httpx2.AsyncClient, database: Database, wish: dict[str, Any], param: Any
) -> None:
    require_error(await client.post("/v1/tokens", json=wish), 400, param=param)
    assert count(database, "tokens") == 0


@one_database
async def test_mint__what_the_key_lacks_is_forbidden(client_for: ClientFor, database: Database) -> None:
    reader = client_for(make_caller(database, scopes=frozenset({Scope.JOBS_READ}))[1])
    for scopes in (["jobs:write"], ["admin"]):
        answer = await reader.post("/v1/tokens", json={"scopes": scopes})
        require_error(answer, 403, code="not_grantable", param="scopes")
    operator = client_for(make_caller(database, scopes=frozenset({Scope.ADMIN}))[1])
    require_error(await operator.post("/v1/tokens", json={"scopes": ["admin"]}), 403, code="not_grantable")
    minted = await mint(operator)
    require_error(await client_for(minted["token"]).get("/v1/admin/jobs"), 403, code="missing_scope")


async def test_mint__sent_again_with_its_idempotency_key_tells_no_secret(
    client: httpx2.AsyncClient, database: Database
) -> None:
    key = {"Idempotency-Key": "t-1"}
    first = await client.post("/v1/tokens", json={"max_jobs": 1}, headers=key)
    again = await client.post("/v1/tokens", json={"max_jobs": 1}, headers=key)
    error = require_error(again, 409, code="secret_already_shown")
    assert first.json()["id"] in error["message"]
    assert again.headers["x-should-retry"] == "false"
    require_error(await client.post("/v1/tokens", json={"max_jobs": 2}, headers=key), 422)
    require_error(await client.post("/v1/jobs", json=BODY, headers=key), 422, code="idempotency_key_reused")
    assert count(database, "tokens") == 1
    secret = first.json()["token"]
    with database.transaction() as conn:
        for table in ("tokens", "creations"):
            assert secret not in str(conn.exec_driver_sql(f"SELECT * FROM {table}").all())


async def test_mint__several_at_once_with_one_idempotency_key_make_one(
    client: httpx2.AsyncClient, database: Database
) -> None:
    posts = (client.post("/v1/tokens", headers={"Idempotency-Key": "t-1"}) for _ in range(6))
    assert sorted([answer.status_code for answer in await asyncio.gather(*posts)]) == [201, *[409] * 5]
    assert count(database, "tokens") == 1


@pytest.mark.parametrize(
    ("wish", "code"), [({"max_jobs": 5}, "token_jobs_spent"), ({"max_cost_usd": 13.0}, "token_cost_spent")]
)
async def test_caps__parallel_posts_make_what_is_allowed(
    client: httpx2.AsyncClient, client_for: ClientFor, database: Database, wish: dict[str, Any], code: str
) -> None:
    with database.transaction() as conn:
        deployment.save_prices(conn, etag=None, rules=PRICE, now=database.now(conn))
    page = client_for((await mint(client, **wish))["token"])
    posts = (page.post("/v1/jobs", json=BODY | {"metadata": {"n": str(n)}}) for n in range(40))
    answers = await asyncio.gather(*posts)
    refused = [answer for answer in answers if answer.status_code != 201]
    assert (count(database, "jobs"), len(refused)) == (5, 35)
    for answer in refused:
        assert require_error(answer, 429, code=code)["type"] == "insufficient_quota"
        assert answer.headers["x-should-retry"] == "false"
    [token] = await listed(client)
    assert (token["jobs_made"], token["cost_usd"]) == (5, 12.5)


async def test_caps__hold_for_every_way_to_a_job(
    client: httpx2.AsyncClient, client_for: ClientFor, database: Database, me: Caller
) -> None:
    minted = await mint(client, max_jobs=1, subject="ann")
    page = client_for(minted["token"])
    done = make_job(database, me, state=JobState.FAILED, subject="ann").id
    assert (await page.post("/v1/jobs", json=BODY)).status_code == 201
    for path, body in (
        (f"/v1/jobs/{done}/retry", {}),
        (f"/v1/videos/{done.replace('job_', 'video_')}/remix", {"prompt": "Another"}),
        ("/v1/videos", {"prompt": "A boat", "model": "veo2"}),
        ("/v2/video/generations", {"model": "veo2", "prompt": "A boat"}),
        ("/v1/jobs", BODY),
    ):
        assert (await page.post(path, json=body)).status_code == 429, path
    assert (await listed(client))[0]["jobs_made"] == 1


@one_database
async def test_caps__a_replay_takes_nothing(client: httpx2.AsyncClient, client_for: ClientFor) -> None:
    page = client_for((await mint(client, max_jobs=1))["token"])
    answers = [await page.post("/v1/jobs", json=BODY, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].content == answers[1].content


@one_database
async def test_models__by_any_of_their_names(client: httpx2.AsyncClient, client_for: ClientFor) -> None:
    page = client_for((await mint(client, models=["veo2"]))["token"])
    require_error(await page.post("/v1/jobs", json=BODY), 403, code="model_not_allowed", param="model")
    assert (await page.post("/v1/jobs", json={"model": "veo2", "input": {"prompt": "p"}})).status_code == 201


@one_database
async def test_origins__only_their_pages(client: httpx2.AsyncClient, client_for: ClientFor) -> None:
    page = client_for((await mint(client, origins=[PAGE, "https://reelay.test"]))["token"])
    for headers in ({"Origin": PAGE}, {"Origin": "https://reelay.test"}, {"Sec-Fetch-Site": "same-origin"}):
        assert (await page.get("/v1/jobs", headers=headers)).status_code == 200, headers
    foreign: list[dict[str, str]] = [
        {},
        {"Origin": "null"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
        {"Origin": f"{PAGE}.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
    ]
    for headers in foreign:
        require_error(await page.get("/v1/jobs", headers=headers), 403, code="origin_not_allowed")
    elsewhere = client_for((await mint(client, origins=[PAGE]))["token"])
    require_error(await elsewhere.get("/v1/jobs", headers={"Sec-Fetch-Site": "same-origin"}), 403)


async def test_subject__a_token_sees_the_jobs_of_its_subject_only(
    client: httpx2.AsyncClient, client_for: ClientFor, database: Database, me: Caller
) -> None:
    anns = make_job(database, me, subject="ann").id
    nobodys = make_job(database, me).id
    ann, own = [client_for((await mint(client, **wish))["token"]) for wish in ({"subject": "ann"}, {})]
    mine = (await own.post("/v1/jobs", json=BODY)).json()
    for page, seen in ((ann, [anns]), (own, [mine["id"]])):
        assert [job["id"] for job in (await page.get("/v1/jobs")).json()["data"]] == seen
        for job_id in {anns, nobodys, mine["id"]} - set(seen):
            require_error(await page.get(f"/v1/jobs/{job_id}"), 404)
    assert (await client.get(f"/v1/jobs/{mine['id']}")).json()["subject"] == mine["subject"]


async def test_idempotency_key__of_one_subject_is_not_anothers(
    client: httpx2.AsyncClient, client_for: ClientFor
) -> None:
    pages = [client_for((await mint(client))["token"]) for _ in range(2)]
    made = [(await page.post("/v1/jobs", json=BODY, headers={"Idempotency-Key": "k"})).json()["id"] for page in pages]
    assert len(set(made)) == 2


@pytest.fixture
async def film(database: Database, me: Caller, house: House) -> str:
    """The id of ann's finished job."""
    job = make_job(database, me, state=JobState.SUCCEEDED, subject="ann")
    await house.store.put_bytes(video_of(job)["key"], VIDEO, content_type="video/mp4")
    return job.id


@pytest.mark.parametrize("what", ["token", "its key", "time"])
async def test_end__within_five_seconds_for_requests_and_links(
    client: httpx2.AsyncClient,
    client_for: ClientFor,
    database: Database,
    house: House,
    me: Caller,
    clock: Clock,
    film: str,
    what: str,
) -> None:
    ticks = house.keys._clock = Ticks()
    minted = await mint(client, subject="ann", ttl_seconds=60)
    page = client_for(minted["token"])
    link = (await page.get(f"/v1/jobs/{film}")).json()["video"]["url"]
    assert f"key_id={minted['id']}" in link
    assert (await client_for().get(link)).content == VIDEO
    if what == "token":
        for _ in range(2):
            assert (await client.delete(f"/v1/tokens/{minted['id']}")).status_code == 204
        assert (await listed(client))[0]["revoked_at"] is not None
    elif what == "its key":
        with database.transaction() as conn:
            access.revoke_key(conn, me.key.id, now=database.now(conn))
    else:
        clock.move(seconds=60)
    ticks.seconds += 5
    require_error(await page.get("/v1/jobs"), 401, code="invalid_api_key")
    require_error(await client_for().get(link), 401, code="invalid_url")


@pytest.mark.parametrize("what", ["token", "its key"])
async def test_end__of_waits(
    client: httpx2.AsyncClient, client_for: ClientFor, database: Database, me: Caller, what: str
) -> None:
    job = make_job(database, me, subject="ann")
    minted = await mint(client, subject="ann")
    waiting = asyncio.ensure_future(client_for(minted["token"]).get(f"/v1/jobs/{job.id}?wait=60"))
    await asleep(database)
    with database.transaction() as conn:
        if what == "token":
            tokens.revoke(conn, minted["id"], by=me.key, now=database.now(conn))
        else:
            access.revoke_key(conn, me.key.id, now=database.now(conn))
    database.signals.wake({job_topic(job.id)})
    async with asyncio.timeout(20):
        require_error(await waiting, 401)


async def test_create__a_key_that_was_revoked_since_the_door_makes_nothing(
    client: httpx2.AsyncClient, client_for: ClientFor, database: Database, house: House, me: Caller
) -> None:
    house.keys._clock = Ticks()
    page = client_for((await mint(client))["token"])
    assert (await page.get("/v1/jobs")).status_code == 200
    with database.transaction() as conn:
        access.revoke_key(conn, me.key.id, now=database.now(conn))
    for caller in (client, page):
        assert (await caller.get("/v1/jobs")).status_code == 200  # known for four seconds more
        require_error(await caller.post("/v1/jobs", json=BODY), 401)
        require_error(await caller.post("/v1/files", files={"file": ("a.jpg", picture())}), 401)
    require_error(await client.post("/v1/tokens"), 401)
    assert [count(database, table) for table in ("jobs", "files", "tokens")] == [0, 0, 1]


async def test_create__a_key_that_has_expired_since_the_door_makes_nothing(
    client_for: ClientFor, database: Database, house: House, clock: Clock
) -> None:
    house.keys._clock = Ticks()
    late = client_for(make_caller(database, lifetime=timedelta(minutes=1))[1])
    assert (await late.get("/v1/jobs")).status_code == 200
    clock.move(minutes=2)
    assert (await late.get("/v1/jobs")).status_code == 200  # as if its body had taken that long
    require_error(await late.post("/v1/jobs", json=BODY), 401)
    require_error(await late.post("/v1/files", files={"file": ("a.jpg", picture())}), 401)
    assert [count(database, table) for table in ("jobs", "files")] == [0, 0]


@one_database
async def test_signed_link__opens_no_longer_than_its_key(
    client_for: ClientFor, database: Database, house: House, film: str, clock: Clock
) -> None:
    caller, secret = make_caller(database, lifetime=timedelta(minutes=5))
    link = (await client_for(secret).get(f"/v1/jobs/{film}")).json()["video"]["url"]
    assert caller.key.expires_at is not None
    assert int(httpx2.URL(link).params["expires"]) == int(caller.key.expires_at.timestamp())


@one_database
async def test_signed_link__of_a_token_that_may_not_read_opens_nothing(
    client: httpx2.AsyncClient, client_for: ClientFor, house: House, database: Database, film: str
) -> None:
    for scopes, status in ((["jobs:write"], 401), (["jobs:read"], 200)):
        token = await mint(client, scopes=scopes, subject="ann")
        with database.transaction() as conn:
            now = database.now(conn)
        query = house.signer.query(job_id=film, use="video", key_id=token["id"], now=now)
        assert (await client_for().get(f"/v1/jobs/{film}/content?{query}")).status_code == status


async def test_archived_project__takes_no_jobs_and_mints_nothing(
    client: httpx2.AsyncClient, client_for: ClientFor, database: Database, house: House
) -> None:
    ticks = house.keys._clock = Ticks()
    page = client_for((await mint(client))["token"])
    assert (await page.get("/v1/jobs")).status_code == 200
    with database.transaction() as conn:
        access.archive_project(conn, "films", now=database.now(conn))
    for seconds in (0, 5):  # decided by the job's own transaction while the door does not know yet
        ticks.seconds += seconds
        require_error(await page.post("/v1/jobs", json=BODY), 403, code="project_archived")
    require_error(await client.post("/v1/tokens"), 403, code="project_archived")
    assert (await page.get("/v1/jobs")).status_code == 200
    assert count(database, "jobs") == 0


async def test_signed_link__of_a_token_ends_before_the_link_would(
    client: httpx2.AsyncClient, client_for: ClientFor, clock: Clock, house: House, film: str
) -> None:
    ticks = house.keys._clock = Ticks()
    minted = await mint(client, subject="ann", ttl_seconds=120)
    link = (await client_for(minted["token"]).get(f"/v1/jobs/{film}")).json()["video"]["url"]
    ours = (await client.get(f"/v1/jobs/{film}")).json()["video"]["url"]
    clock.move(minutes=3)
    ticks.seconds += 5
    require_error(await client_for().get(link), 401)
    assert (await client_for().get(ours)).status_code == 200
