"""Creates and retries over a database that fails at the worst moment: what is committed is answered, and made once."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.api import routes
from app.api.callers import Caller
from app.api.deps import House
from app.db.engine import Database
from app.domain.actor import Actor
from app.domain.errors import Unavailable
from app.domain.states import JobState
from tests.api.conftest import ClientFor, count, data_uri, require_error, stored
from tests.factories import INPUT, make_job, picture


class Unreliable(Database):
    """A database that fails at the moments that the test chooses."""

    reads_fail_after_a_write = False
    loses_its_answers = False
    is_away = False
    tells_when: asyncio.Event | None = None
    """Set by the test to let it say that it has committed."""
    _wrote = False

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.committed = asyncio.Event()

    async def read(self, work: Any) -> Any:
        if self._wrote and self.reads_fail_after_a_write:
            raise RuntimeError("reading is broken")
        return await super().read(work)

    async def write(self, work: Any, *, by: Actor | None = None) -> Any:
        if self.is_away:
            raise Unavailable("The database is away.", code="database_unavailable", retry_after=5)
        result = await super().write(work, by=by)
        self._wrote = True
        self.committed.set()
        if self.tells_when is not None:
            await self.tells_when.wait()
        if self.loses_its_answers:
            raise Unavailable("the connection broke while the commit was answered")
        return result


@pytest.fixture
def unreliable(migrated_url: str) -> Iterator[Unreliable]:
    opened = Unreliable(migrated_url)
    yield opened
    opened.close()


@pytest.fixture
def shaken(
    house: House, unreliable: Unreliable, client_for: ClientFor, caller: tuple[Caller, str]
) -> httpx2.AsyncClient:
    """A client of a house whose database is unreliable."""
    return client_for(caller[1], app=routes.build(replace(house, db=unreliable)))


@pytest.mark.parametrize("headers", [{}, {"Prefer": "wait=5"}])
async def test_create__is_2xx_once_committed_even_if_nothing_can_be_read(
    shaken: httpx2.AsyncClient, unreliable: Unreliable, database: Database, headers: dict[str, str]
) -> None:
    unreliable.reads_fail_after_a_write = True
    response = await shaken.post("/v1/jobs", json={"input": INPUT}, headers=headers)
    assert response.status_code == 201
    assert (response.json()["status"], response.json()["input"]) == ("queued", INPUT)
    assert count(database, "jobs") == 1


async def test_create__a_commit_whose_answer_was_lost_is_found(
    shaken: httpx2.AsyncClient, unreliable: Unreliable, database: Database, storage: Path
) -> None:
    unreliable.loses_its_answers = True
    body = {"input": {"prompt": "p", "image_url": data_uri(picture())}}
    response = await shaken.post("/v1/jobs", json=body)
    assert response.status_code == 201
    assert (count(database, "jobs"), len(stored(storage))) == (1, 1)


@pytest.mark.parametrize("headers", [{}, {"Prefer": "wait=1"}])
async def test_create__a_commit_in_the_middle_of_a_stop_is_answered(
    shaken: httpx2.AsyncClient, unreliable: Unreliable, database: Database, headers: dict[str, str]
) -> None:
    unreliable.tells_when = asyncio.Event()
    sent = asyncio.ensure_future(shaken.post("/v1/jobs", json={"input": INPUT}, headers=headers))
    await unreliable.committed.wait()
    sent.cancel()  # as the server does with what is still under way seconds after SIGTERM
    await asyncio.sleep(0)
    unreliable.tells_when.set()
    response = await sent
    assert (response.status_code, count(database, "jobs"), sent.cancelling()) == (201, 1, 0)


async def test_create__without_a_database_leaves_nothing(
    shaken: httpx2.AsyncClient, unreliable: Unreliable, storage: Path
) -> None:
    unreliable.is_away = True
    body = {"input": {"prompt": "p", "image_url": data_uri(picture())}}
    refused = await shaken.post("/v1/jobs", json=body)
    require_error(refused, 503, code="database_unavailable")
    assert refused.headers["retry-after"] == "5"
    assert "x-should-retry" not in refused.headers
    assert stored(storage) == []


async def test_retry__a_commit_whose_answer_was_lost_is_found(
    shaken: httpx2.AsyncClient, unreliable: Unreliable, database: Database, me: Caller
) -> None:
    failed = make_job(database, me, state=JobState.FAILED)
    unreliable.loses_its_answers = True
    answer = await shaken.post(f"/v1/jobs/{failed.id}/retry")
    assert (answer.status_code, answer.json()["retried_from"]) == (201, failed.id)
