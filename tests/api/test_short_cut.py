"""A remembered job is shown as the database would have it shown, to those who may see it, and never after a change."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx2
import pytest

from app.api import routes
from app.api.callers import Caller, KeyRing
from app.api.deps import House
from app.api.remembered_jobs import KEPT, RememberedJobs, Shown
from app.db import access
from app.db.engine import Database
from app.db.signals import Signals, job_topic
from app.domain.job import Job
from app.domain.secrets import Scope
from app.domain.states import TERMINAL, JobState
from tests.api.conftest import ClientFor, MakeHouse, Ticks
from tests.conftest import Clock, one_database
from tests.factories import PATHS, lead, make_caller, make_job

LONG_WAY = {"Prefer": "handling=lenient"}
"""Asks for nothing that changes the answer, and keeps it from being a remembered one."""


class Still(Clock):
    """A clock that stands, so that two answers can be compared."""

    def __init__(self) -> None:
        super().__init__()
        self._moment = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self._moment + self.offset


@pytest.fixture
def clock() -> Clock:
    return Still()


@pytest.fixture(autouse=True)
def _signals_are_whole(database: Database, clock: Clock) -> None:
    database.signals.vouch(seconds=3600)


def told(answer: httpx2.Response) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    return answer.status_code, answer.content, [(n, v) for n, v in answer.headers.raw if n != b"x-request-id"]


async def test_short_cut__answers_as_the_long_way_does(
    client: httpx2.AsyncClient, database: Database, me: Caller, clock: Clock, statements: list[str]
) -> None:
    for path in PATHS.values():
        job = make_job(database, me, metadata={"order": "A-17"})
        for to in (None, *path):
            if to is not None:
                job = await database.write(partial(lead, database=database, job=job, to=to))
            clock.move(seconds=7)
            for _ in range(2):
                await client.get(f"/v1/jobs/{job.id}")
            statements.clear()
            shown = await client.get(f"/v1/jobs/{job.id}")
            assert (statements == []) == (job.state in KEPT), job.state
            assert told(shown) == told(await client.get(f"/v1/jobs/{job.id}", headers=LONG_WAY))
            assert shown.json()["state"] == job.state and shown.headers["x-request-id"].startswith("req_")
        if job.state in TERMINAL:
            assert (await client.delete(f"/v1/jobs/{job.id}")).status_code == 204
            assert (await client.get(f"/v1/jobs/{job.id}")).status_code == 404


@one_database
async def test_short_cut__signs_links_anew(
    client: httpx2.AsyncClient, database: Database, me: Caller, clock: Clock
) -> None:
    job = make_job(database, me, state=JobState.SUCCEEDED)
    links = set()
    for _ in range(3):
        for _ in range(2):
            shown = await client.get(f"/v1/jobs/{job.id}")
            assert told(shown) == told(await client.get(f"/v1/jobs/{job.id}", headers=LONG_WAY))
        links.add(shown.json()["video"]["url"])
        clock.move(minutes=15)
    assert len(links) == 3


Prepare = Callable[[], Awaitable[Any]]


@one_database
async def test_short_cut__opens_nothing_to_others(
    client: httpx2.AsyncClient, client_for: ClientFor, house: House, database: Database, me: Caller
) -> None:
    # The row of a running job stays at hand, for whoever may see it.
    job = make_job(database, me, state=JobState.GENERATING, subject="ann")
    assert (await client.get(f"/v1/jobs/{job.id}")).status_code == 200
    assert house.remembered.find(job.id)
    minted = (await client.post("/v1/tokens", json={"origins": ["https://app.example"], "subject": "ann"})).json()
    refused = {
        make_caller(database, project="others")[1]: 404,
        make_caller(database, subject="ben")[1]: 404,
        make_caller(database, scopes=frozenset({Scope.JOBS_WRITE}))[1]: 403,
        minted["token"]: 403,
        "rly_nonsense": 401,
    }
    for secret, status in refused.items():
        for _ in range(2):  # the second time, whoever it is is known
            assert (await client_for(secret).get(f"/v1/jobs/{job.id}")).status_code == status
    assert (await client_for().get(f"/v1/jobs/{job.id}")).status_code == 401


@one_database
async def test_short_cut__shows_everybody_links_of_their_own(
    client: httpx2.AsyncClient, client_for: ClientFor, database: Database, me: Caller
) -> None:
    job = make_job(database, me, state=JobState.SUCCEEDED, subject="ann")
    ann, secret = make_caller(database, subject="ann")
    for _ in range(3):
        for reader, key in ((client, me.key), (client_for(secret), ann.key)):
            assert f"key_id={key.id}&" in (await reader.get(f"/v1/jobs/{job.id}")).json()["video"]["url"]


@one_database
async def test_short_cut__ends_with_the_key(
    client: httpx2.AsyncClient, house: House, database: Database, me: Caller
) -> None:
    ticks = Ticks()
    object.__setattr__(house, "keys", KeyRing(clock=ticks))
    job = make_job(database, me, state=JobState.SUCCEEDED)
    for _ in range(2):
        assert (await client.get(f"/v1/jobs/{job.id}")).status_code == 200
    await database.write(lambda conn: access.revoke_key(conn, me.key.id, now=database.now(conn)))
    ticks.seconds = 5
    assert (await client.get(f"/v1/jobs/{job.id}")).status_code == 401


@one_database
async def test_short_cut__is_counted(client_for: ClientFor, database: Database) -> None:
    limited, secret = make_caller(database, requests_per_minute=4)
    job = make_job(database, limited, state=JobState.SUCCEEDED)
    client = client_for(secret)
    answers = [await client.get(f"/v1/jobs/{job.id}") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 4 + [429] * 2
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == [*"321000"]


class Overtaken(Database):
    """Between what a read found and its return, something else is committed."""

    meanwhile: Prepare | None = None

    async def read(self, work: Any) -> Any:
        found = await super().read(work)
        if self.meanwhile is not None and isinstance(found, tuple):
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return found


@one_database
async def test_short_cut__keeps_no_row_that_was_overtaken(make_house: MakeHouse, client_for: ClientFor) -> None:
    house = make_house(Overtaken)
    database = house.db
    assert isinstance(database, Overtaken)
    database.signals.vouch(seconds=3600)
    me, secret = make_caller(database)
    job = make_job(database, me, state=JobState.GENERATING)
    client = client_for(secret, app=routes.build(house))
    await client.get("/v1/usage")  # the key is known from here on
    database.meanwhile = lambda: database.write(partial(lead, database=database, job=job, to=JobState.FAILED))
    assert (await client.get(f"/v1/jobs/{job.id}")).json()["state"] == "generating"
    assert (await client.get(f"/v1/jobs/{job.id}")).json()["state"] == "failed"


@one_database
async def test_short_cut__is_closed_while_changes_may_be_missed(
    client: httpx2.AsyncClient, database: Database, me: Caller, statements: list[str]
) -> None:
    job = make_job(database, me, state=JobState.SUCCEEDED)
    for asked in (True, False, True):
        await client.get(f"/v1/jobs/{job.id}")
        database.signals.doubt() if asked else database.signals.vouch(seconds=60)
        statements.clear()
        await client.get(f"/v1/jobs/{job.id}")
        assert bool(statements) is asked


def test_remembered__stays_within_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    signals = Signals()
    signals.vouch(seconds=60)
    remembered = RememberedJobs(signals, most_bytes=10_000)
    row = {"project_id": "p", "model": "m", "upstream_path": "/", "due_at": now, "created_at": now}
    for n in range(9):
        remembered.keep(Job(id=f"job_{n}", input={}, state=JobState.SUCCEEDED, **row))
    remembered.keep(Job(id="job_large", input={"prompt": "x" * 70_000}, state=JobState.SUCCEEDED, **row))
    held = [n for n in (*range(9), "large") if remembered.find(f"job_{n}")]
    assert held == [6, 7, 8]
    kept = remembered.find("job_6")
    assert kept is not None and signals.wanted
    remembered.show(kept, ("key", None), Shown([], b"x" * 5_000, 0))
    assert [n for n in range(9) if remembered.find(f"job_{n}")] == [6, 8]
    signals.wake([job_topic("job_6"), job_topic("job_8")])
    assert not signals.wanted and remembered._bytes == 0
