"""Timelines live: nothing left out, nothing twice, and an end when it is over."""

import asyncio
import itertools
from contextlib import aclosing
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from app.api import events as events_api
from app.api import feed
from app.api.callers import Caller
from app.api.deps import House
from app.db import access, jobs
from app.domain.ids import new_id
from app.domain.job import Job
from app.domain.states import JobState
from tests.api.conftest import ClientFor, MakeHouse, Ticks, require_error
from tests.api.live import live
from tests.conftest import Clock
from tests.factories import INPUT, MODEL, PATHS, lead, make_caller, make_job

BODY = {"model": MODEL, "input": INPUT}
STEPS = ["job.created", "job.submitting", "job.started", "job.saving", "job.succeeded"]


@pytest.fixture(autouse=True)
def _woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits is woken, or the test hangs: nothing looks by itself."""
    monkeypatch.setattr(feed, "SAFETY_SECONDS", 600.0)
    monkeypatch.setattr(feed, "TICK_SECONDS", 0.05)


async def move(house: House, job: Job, *path: JobState) -> Job:
    """Lead the job on, each step a transaction of its own."""
    for to in path:
        job = await house.db.write(lambda conn, job=job, to=to: lead(conn, house.db, job, to=to))
    return job


async def test_job_stream__tells_all_and_ends(app: FastAPI, house: House, caller: tuple[Caller, str]) -> None:
    me, key = caller
    job = make_job(house.db, me)
    async with live(app, f"/v1/jobs/{job.id}/events", key=key) as stream:
        assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert stream.headers["cache-control"] == "no-store"
        first = await stream.next()
        assert (first["id"], first["event"], first["data"]["data"]["job_id"]) == ("1", "job.created", job.id)
        await move(house, job, *PATHS[JobState.SUCCEEDED])
        assert await stream.names(4) == [(str(n), name) for n, name in enumerate(STEPS[1:], start=2)]
        assert await stream.rest() == []


async def test_job_stream__goes_on_after_the_last_event_and_says_when_there_is_no_more(
    app: FastAPI, client: httpx2.AsyncClient, house: House, caller: tuple[Caller, str]
) -> None:
    me, key = caller
    job = make_job(house.db, me, state=JobState.SUCCEEDED)
    address = f"/v1/jobs/{job.id}/events"
    async with live(app, address, key=key, last_event_id="3") as stream:
        assert await stream.names(2) == [("4", "job.saving"), ("5", "job.succeeded")]
        assert await stream.rest() == []
    listed = (await client.get(address)).json()["data"]
    async with live(app, f"{address}?after={listed[3]['id']}", key=key) as stream:
        assert await stream.names(1) == [("5", "job.succeeded")]
    async with live(app, address, key=key, last_event_id="5") as stream:
        assert stream.status == 204
    refused = await client.get(address, headers={"Accept": "text/event-stream", "Last-Event-ID": "evt_none"})
    require_error(refused, 400, code="invalid_cursor")


async def test_job_stream__progress_is_computed_and_has_no_id(
    app: FastAPI, house: House, caller: tuple[Caller, str], clock: Clock
) -> None:
    me, key = caller
    job = make_job(house.db, me, state=JobState.GENERATING)
    clock.move(seconds=20)
    async with live(app, f"/v1/jobs/{job.id}/events", key=key, last_event_id="3") as stream:
        told = await stream.next()
        assert (told["event"], "id" in told, told["data"]["id"]) == ("job.progress", False, None)
        assert told["data"]["data"]["progress"] in range(1, 100)
    assert len(await read_all(app, key)) == 3


async def read_all(app: FastAPI, key: str) -> list[dict[str, Any]]:
    """Return all events of the project, by pages of two."""
    headers, found, after = {"Authorization": f"Bearer {key}"}, [], "0"
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app), base_url="https://reelay.test", headers=headers
    ) as client:
        while True:
            page = (await client.get("/v1/events", params={"limit": 2, "after": after})).json()
            found += page["data"]
            if not page["has_more"]:
                return found
            after = page["data"][-1]["id"]


async def test_job_stream__opens_by_the_signed_url_of_the_job(
    app: FastAPI, client: httpx2.AsyncClient, client_for: ClientFor, house: House, me: Caller
) -> None:
    job = make_job(house.db, me, state=JobState.SUCCEEDED)
    url = (await client.get(f"/v1/jobs/{job.id}")).json()["events_url"]
    async with live(app, url) as stream:
        assert len(await stream.names(5)) == 5
    nobody = client_for()
    assert [event["type"] for event in (await nobody.get(url)).json()["data"]] == STEPS
    for changed in (url.replace("variant=events", "variant=video"), url[:-1] + ("0" if url[-1] != "0" else "1")):
        assert (await nobody.get(changed)).status_code in (400, 401)
    content = url.replace("/events?", "/content?").replace("variant=events", "variant=video")
    require_error(await nobody.get(content), 401, code="invalid_url")
    assert (await nobody.get(f"/v1/jobs/{job.id}/events")).status_code == 401


async def test_creation__stores_no_signed_link(client: httpx2.AsyncClient) -> None:
    key = {"Idempotency-Key": "k"}
    first, again = [await client.post("/v1/jobs", json=BODY, headers=key) for _ in range(2)]
    assert first.content == again.content
    assert "?" not in first.json()["events_url"]


async def test_project_stream__has_every_event_once_in_one_order(
    app: FastAPI, house: House, caller: tuple[Caller, str], make_house: MakeHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of another replica, which nobody here is told of."""
    monkeypatch.setattr(feed, "SAFETY_SECONDS", 0.1)
    me, key = caller
    make_job(house.db, me, state=JobState.SUCCEEDED)  # before anybody listens
    make_job(house.db, make_caller(house.db, project="others")[0])
    other = make_house()
    async with live(app, "/v1/events", key=key) as stream, live(app, "/v1/events", key=key, last_event_id="0") as all_:
        assert [name for _, name in await all_.names(5)] == STEPS
        made = [await house.db.write(lambda conn: insert(conn, house, me)) for _ in range(3)]
        async with asyncio.TaskGroup() as group:
            for job, replica in zip(made, (house, house if house.db.is_sqlite else other, house), strict=True):
                group.create_task(move(replica, job, *PATHS[JobState.SUCCEEDED]))
        told = await stream.names(15)
        assert told == await all_.names(15)
    numbers = [int(number or 0) for number, _ in told]
    assert numbers == sorted(set(numbers))
    assert [event["type"] for event in await read_all(app, key)] == [*STEPS, *[name for _, name in told]]


def insert(conn: Any, house: House, me: Caller) -> Job:
    now = house.db.now(conn)
    given: dict[str, Any] = {"project_id": me.key.project_id, "key_id": me.key.id, "subject": me.key.subject}
    return jobs.insert(
        conn,
        Job(id=new_id("job"), **given, model=MODEL, input=INPUT, upstream_path="/", due_at=now, created_at=now),
    )


async def test_project_stream__shows_a_subject_its_own(app: FastAPI, house: House) -> None:
    ann, key = make_caller(house.db, subject="ann")
    bob, _ = make_caller(house.db, subject="bob")
    stranger, _ = make_caller(house.db, project="others", subject="ann")
    async with live(app, "/v1/events", key=key) as stream:
        await caught_up(house)  # so that what follows is handed over and not read
        for of in (bob, stranger, ann):
            job = await house.db.write(lambda conn, of=of: insert(conn, house, of))
        assert (await stream.next())["data"]["data"]["job_id"] == job.id
    assert [event["data"]["job_id"] for event in await read_all(app, key)] == [job.id]


async def caught_up(house: House) -> None:
    """Return once the one reader sleeps until it is handed something."""
    async with asyncio.timeout(10):
        while not any(follower.news._waiters for follower in house.feed._followers):
            await asyncio.sleep(0)


async def test_feed__what_is_both_read_and_handed_over_is_told_once(house: House, me: Caller) -> None:
    make_job(house.db, me)
    async with aclosing(house.feed.follow(house.db, me.owner, after=0)) as frames:
        while (first := await anext(frames)) is None:  # the feed begins to look
            pass
        assert b"id: 1\n" in first  # it is still reading what was there
        [follower] = house.feed._followers
        await house.db.write(lambda conn: insert(conn, house, me))
        async with asyncio.timeout(10):
            await follower.news.wait()
        assert b"id: 2\n" in (await anext(frames) or b"")
        assert await anext(frames) is None


async def test_feed__what_is_written_at_once_keeps_its_place(house: House, me: Caller) -> None:
    """The connection takes some at once; others are sent as usual, and none overtakes another."""
    make_job(house.db, me, state=JobState.SUCCEEDED)
    ways: list[str] = []
    told: list[int] = []
    takes = itertools.cycle([True, True, False, True, False, False])

    def tell(frame: bytes, *, way: str) -> None:
        ways.append(way)
        told.append(int(frame.split(b"id: ")[1].split(b"\n")[0]))

    def push(chunk: bytes) -> bool:
        if taken := next(takes):
            size, _, rest = chunk.partition(b"\r\n")
            assert len(rest) == int(size, 16) + 2
            tell(rest, way="pushed")
        return taken

    async def read() -> None:
        async with aclosing(house.feed.follow(house.db, me.owner, after=0, push=push)) as frames:
            async for frame in frames:
                if frame is not None:
                    tell(frame, way="sent")
                    await asyncio.sleep(0)

    reading = asyncio.ensure_future(read())
    for _ in range(20):
        await house.db.write(lambda conn: insert(conn, house, me))
    async with asyncio.timeout(10):
        while len(told) < 25:
            await asyncio.sleep(0.01)
    reading.cancel()
    assert told == list(range(1, 26))
    assert ways.count("pushed") > 0 < ways[5:].count("sent")


async def test_stream__ends_with_its_key(app: FastAPI, house: House, caller: tuple[Caller, str]) -> None:
    me, key = caller
    ticks = Ticks()
    house.keys._clock = ticks
    job = make_job(house.db, me)
    async with live(app, "/v1/events", key=key) as all_, live(app, f"/v1/jobs/{job.id}/events", key=key) as one:
        await house.db.write(lambda conn: access.revoke_key(conn, me.key.id, now=house.db.now(conn)))
        ticks.seconds += 4
        assert await all_.rest() == []
        assert await one.rest() == ["job.created", "job.progress"]


async def test_stream__ends_when_the_process_stops(app: FastAPI, house: House, caller: tuple[Caller, str]) -> None:
    async with live(app, "/v1/events", key=caller[1]) as stream:
        house.close_door()
        assert await stream.rest() == []


async def test_stream__ends_when_its_job_is_deleted(app: FastAPI, house: House, caller: tuple[Caller, str]) -> None:
    me, key = caller
    job = make_job(house.db, me)
    async with live(app, f"/v1/jobs/{job.id}/events", key=key) as stream:
        await stream.names(1)
        job = await move(house, job, JobState.CANCELED)
        assert await stream.names(1) == [("2", "job.canceled")]
        assert await stream.rest() == []


async def test_stream__shows_in_silence_that_it_lives(
    app: FastAPI, caller: tuple[Caller, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_api, "HEARTBEAT_SECONDS", 0.1)
    async with live(app, "/v1/events", key=caller[1]) as stream, asyncio.timeout(10):
        assert await stream.arrived.get() == b"retry: 2000\nid: 0\n\n"  # whence to go on if nothing comes before a cut
        assert await stream.arrived.get() == b": still here\n\n"


async def test_streams__of_one_credential_are_counted(
    app: FastAPI, client: httpx2.AsyncClient, house: House, caller: tuple[Caller, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MOST_STREAMS", 1)
    headers = {"Accept": "text/event-stream"}
    async with live(app, "/v1/events", key=caller[1]) as stream:
        await stream.arrived.get()
        refused = await client.get("/v1/events", headers=headers)
        error = require_error(refused, 429, code="too_many_streams")
        assert error["type"] == "rate_limit_error"
    async with live(app, "/v1/events", key=caller[1]) as stream:
        assert stream.status == 200


async def test_reader__that_is_too_slow_is_let_go_and_goes_on_where_it_stopped(
    app: FastAPI, house: House, caller: tuple[Caller, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    me, key = caller
    monkeypatch.setattr(feed, "MOST_HELD", 2)
    async with live(app, "/v1/events", key=key, last_event_id="0") as stream:
        await stream.arrived.get()
        follower = await follower_of(house)
        job = make_job(house.db, me, state=JobState.SUCCEEDED)
        taken = follower.take

        def take_nothing() -> list[tuple[int, bytes]]:
            follower.news.clear()  # else it would be told of them again and again, and nobody else got a turn
            return []

        monkeypatch.setattr(follower, "take", take_nothing)
        await house.db.write(lambda conn: jobs.note(conn, job, type="job.noted", now=house.db.now(conn), data={}))
        async with asyncio.timeout(10):
            while not follower.is_behind:
                await asyncio.sleep(0.01)
        monkeypatch.setattr(follower, "take", taken)
        assert len(await stream.rest()) == 0
    async with live(app, "/v1/events", key=key, last_event_id="0") as stream:
        assert len(await stream.names(6)) == 6


async def follower_of(house: House) -> feed.Follower:
    async with asyncio.timeout(10):
        while not (house.feed._followers and house.feed._begun.is_set()):
            await asyncio.sleep(0.01)
    [follower] = house.feed._followers
    return follower
