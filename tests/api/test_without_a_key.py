"""Requests without an Idempotency-Key that an SDK sends again: its own count tells retries from requests."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from app.api import routes
from app.api.callers import Caller
from app.db import jobs
from app.db.engine import Connection, Database
from app.domain.actor import Actor
from app.domain.states import JobState
from tests.api.conftest import ClientFor, MakeHouse, asleep, count, data_uri, stored
from tests.conftest import Clock, one_database
from tests.factories import INPUT, make_caller, make_job, picture

BODY = {"input": INPUT}
IMAGE = {"input": {"prompt": "p", "image_url": data_uri(picture())}}
on_postgres = pytest.mark.parametrize("database_kind", ["postgres"], indirect=True)
"""For what only several replicas can do."""


def tried(count: int | str) -> dict[str, str]:
    return {"X-Stainless-Retry-Count": str(count)}


def is_replay(response: httpx2.Response) -> bool:
    assert response.status_code == 201, response.text
    assert response.headers["location"] == f"/v1/jobs/{response.json()['id']}"
    return response.headers.get("idempotent-replayed") == "true"


class Halves:
    """A body whose second half waits for `go`. `arrived` is set once the first was taken."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.arrived, self.go = asyncio.Event(), asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        middle = len(self._content) // 2
        yield self._content[:middle]
        self.arrived.set()
        await self.go.wait()
        yield self._content[middle:]


async def test_retry_of_the_sdk__gets_the_job_as_it_is(
    client: httpx2.AsyncClient, database: Database, storage: Path
) -> None:
    first = await client.post("/v1/jobs", json=IMAGE, headers=tried(0))
    assert not is_replay(first)
    await client.post(f"{first.headers['location']}/cancel")
    for n in (1, 2):
        again = await client.post("/v1/jobs", json=IMAGE, headers=tried(n))
        assert is_replay(again)
        assert (again.json()["id"], again.json()["status"]) == (first.json()["id"], "canceled")
    assert (count(database, "jobs"), count(database, "files"), len(stored(storage))) == (1, 1, 1)


async def test_retry_of_the_sdk__waits_if_preferred(client: httpx2.AsyncClient, database: Database, me: Caller) -> None:
    await client.post("/v1/jobs", json=BODY)
    headers = tried(1) | {"Prefer": "wait=60"}
    waiting = asyncio.ensure_future(client.post("/v1/jobs", json=BODY, headers=headers))
    job_id = (await asleep(database)).removeprefix("job:")
    await database.write(lambda conn: jobs.cancel(conn, job_id, owner=me.owner, now=database.now(conn)))
    async with asyncio.timeout(20):
        again = await waiting
    assert is_replay(again)
    assert (again.json()["status"], again.headers["preference-applied"]) == ("canceled", "wait=60")


async def test_identical_calls__are_several_jobs_and_each_retry_finds_one(
    client: httpx2.AsyncClient, database: Database
) -> None:
    made = [(await client.post("/v1/jobs", json=BODY)).json()["id"] for _ in range(2)]
    assert len(set(made)) == 2
    again = [await client.post("/v1/jobs", json=BODY, headers=tried(1)) for _ in range(3)]
    assert [is_replay(answer) for answer in again] == [True, True, False]
    assert [answer.json()["id"] for answer in again[:2]] == made[::-1]
    assert count(database, "jobs") == 3


@pytest.mark.parametrize("rubbish", ["", "-1", "one", "1.5", "²", "9" * 10])
@one_database
async def test_count__that_is_none_counts_as_the_first_try(client: httpx2.AsyncClient, rubbish: str) -> None:
    await client.post("/v1/jobs", json=BODY)
    headers = [(b"X-Stainless-Retry-Count", rubbish.encode())]
    assert not is_replay(await client.post("/v1/jobs", json=BODY, headers=headers))


async def test_retry_of_the_sdk__another_credential_or_body_is_another_request(
    client: httpx2.AsyncClient, client_for: ClientFor, database: Database
) -> None:
    _, same_project = make_caller(database)
    await client.post("/v1/jobs", json=BODY)
    others = [
        await client_for(same_project).post("/v1/jobs", json=BODY, headers=tried(1)),
        await client.post("/v1/jobs", json=BODY | {"priority": "low"}, headers=tried(1)),
        await client.post("/v1/jobs", json=BODY, headers=tried(1) | {"Idempotency-Key": "k"}),
    ]
    assert not any(map(is_replay, others))
    assert count(database, "jobs") == 4


async def test_retry_of_the_sdk__makes_a_job_after_ten_minutes(client: httpx2.AsyncClient, clock: Clock) -> None:
    first = await client.post("/v1/jobs", json=BODY)
    clock.move(minutes=9, seconds=50)
    assert is_replay(await client.post("/v1/jobs", json=BODY, headers=tried(1)))
    clock.move(seconds=20)
    late = await client.post("/v1/jobs", json=BODY, headers=tried(2))
    assert not is_replay(late) and late.json()["id"] != first.json()["id"]


async def test_retry_of_the_sdk__does_not_find_a_deleted_job(client: httpx2.AsyncClient) -> None:
    first = await client.post("/v1/jobs", json=BODY)
    await client.post(f"{first.headers['location']}/cancel")
    assert (await client.delete(first.headers["location"])).status_code == 204
    assert not is_replay(await client.post("/v1/jobs", json=BODY, headers=tried(1)))


async def test_retry_of_a_job__sent_again_by_the_sdk_makes_no_third(
    client: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    failed = make_job(database, me, state=JobState.FAILED)
    first = await client.post(f"/v1/jobs/{failed.id}/retry")
    await client.post(f"{first.headers['location']}/cancel")
    again = await client.post(f"/v1/jobs/{failed.id}/retry", headers=tried(1))
    assert is_replay(again) and again.json()["id"] == first.json()["id"]
    meant = await client.post(f"/v1/jobs/{failed.id}/retry")
    assert not is_replay(meant) and meant.json()["id"] != first.json()["id"]


@pytest.mark.parametrize("overtaken_by", [1, 2])
async def test_original__that_its_retry_overtook_gets_the_same_job(
    client_for: ClientFor,
    caller: tuple[Caller, str],
    database: Database,
    storage: Path,
    make_house: MakeHouse,
    overtaken_by: int,
) -> None:
    first_door = client_for(caller[1])
    other_door = first_door if database.is_sqlite else client_for(caller[1], app=routes.build(make_house()))
    body = Halves(httpx2.Request("POST", "http://x", json=IMAGE).content)
    headers = {"Content-Type": "application/json"}
    original = asyncio.ensure_future(first_door.post("/v1/jobs", content=body, headers=headers))
    async with asyncio.timeout(20):
        await body.arrived.wait()
        retry = await other_door.post("/v1/jobs", json=IMAGE, headers=tried(overtaken_by))
        body.go.set()
        late = await original
    assert not is_replay(retry) and is_replay(late)
    assert late.json()["id"] == retry.json()["id"]
    # One that arrives now is another request, and the overtaken one is not found twice.
    assert not is_replay(await first_door.post("/v1/jobs", json=IMAGE))
    assert (count(database, "jobs"), len(stored(storage))) == (2, 2)


class Held(Database):
    """A database whose next transaction, once told so, stops short of its commit."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.is_told = False
        self.entered, self.leave = threading.Event(), threading.Event()

    async def write(self, work: Any, *, by: Actor | None = None) -> Any:
        if not self.is_told:
            return await super().write(work, by=by)
        self.is_told = False

        def held(conn: Connection) -> Any:
            result = work(conn)
            self.entered.set()
            assert self.leave.wait(20)
            return result

        return await super().write(held, by=by)


@on_postgres
@pytest.mark.parametrize(
    ("first_headers", "second_headers", "lock"),
    [
        (tried(0), tried(1), "advisory"),
        (tried(1), tried(0), "advisory"),
        ({"Idempotency-Key": "a"}, {"Idempotency-Key": "a"}, "transactionid"),
    ],
)
async def test_same_request__waits_for_the_one_that_another_replica_has_not_committed(
    client_for: ClientFor,
    client: httpx2.AsyncClient,
    caller: tuple[Caller, str],
    database: Database,
    make_house: MakeHouse,
    first_headers: dict[str, str],
    second_headers: dict[str, str],
    lock: str,
) -> None:
    house = make_house(Held)
    assert isinstance(house.db, Held)
    house.db.is_told = True
    door = client_for(caller[1], app=routes.build(house))
    second_body = Halves(httpx2.Request("POST", "http://x", json=BODY).content)
    second_headers = second_headers | {"Content-Type": "application/json"}
    second = asyncio.ensure_future(client.post("/v1/jobs", content=second_body, headers=second_headers))
    async with asyncio.timeout(20):
        await second_body.arrived.wait()
        first = asyncio.ensure_future(door.post("/v1/jobs", json=BODY, headers=first_headers))
        assert await asyncio.to_thread(house.db.entered.wait, 20)
        second_body.go.set()
        while not await waits_for(database, lock):
            assert not second.done(), second.result().text
        house.db.leave.set()
        answers = await asyncio.gather(first, second)
    assert [is_replay(answer) for answer in answers] == [False, True]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert count(database, "jobs") == 1


@on_postgres
async def test_retry_of_the_sdk__does_not_find_a_job_whose_deletion_is_being_committed(
    client_for: ClientFor,
    client: httpx2.AsyncClient,
    caller: tuple[Caller, str],
    database: Database,
    make_house: MakeHouse,
) -> None:
    first = await client.post("/v1/jobs", json=BODY)
    await client.post(f"{first.headers['location']}/cancel")
    house = make_house(Held)
    assert isinstance(house.db, Held)
    house.db.is_told = True
    door = client_for(caller[1], app=routes.build(house))
    async with asyncio.timeout(20):
        deleted = asyncio.ensure_future(door.delete(first.headers["location"]))
        assert await asyncio.to_thread(house.db.entered.wait, 20)
        retry = asyncio.ensure_future(client.post("/v1/jobs", json=BODY, headers=tried(1)))
        while not await waits_for(database, "transactionid"):
            assert not retry.done(), retry.result().text
        house.db.leave.set()
        assert (await deleted).status_code == 204
        assert not is_replay(await retry)


async def waits_for(database: Database, lock: str) -> bool:
    query = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = :kind")
    waiting = await database.read(lambda conn: conn.execute(query, {"kind": lock}).scalar_one())
    return bool(waiting)


async def test_tries__all_at_once_make_one_job(
    client_for: ClientFor, caller: tuple[Caller, str], database: Database, storage: Path, make_house: MakeHouse
) -> None:
    doors = [client_for(caller[1])]
    if not database.is_sqlite:
        doors.append(client_for(caller[1], app=routes.build(make_house())))
    bodies = [Halves(httpx2.Request("POST", "http://x", json=IMAGE).content) for _ in range(10)]
    sent = [
        asyncio.ensure_future(
            doors[n % len(doors)].post(
                "/v1/jobs", content=body, headers=tried(n) | {"Content-Type": "application/json"}
            )
        )
        for n, body in enumerate(bodies)
    ]
    async with asyncio.timeout(30):
        await asyncio.gather(*(body.arrived.wait() for body in bodies))
        for body in bodies:
            body.go.set()
        answers = await asyncio.gather(*sent)
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum(map(is_replay, answers)) == 9
    assert (count(database, "jobs"), count(database, "files"), len(stored(storage))) == (1, 1, 1)
