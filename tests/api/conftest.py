"""The front door in process: no socket, no workers, a real database and a real folder."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from app.api import routes, waiting
from app.api.callers import Caller
from app.api.deps import House
from app.catalogue import catalogue
from app.db.engine import Database
from app.domain.secrets import Scope
from app.domain.signing import Signer
from app.media.store import Store
from app.workers.sweep import Sweeper
from tests.factories import make_caller

ClientFor = Callable[..., httpx2.AsyncClient]
MakeHouse = Callable[..., House]
CATALOGUE = catalogue.load()


class Ticks:
    """A monotonic clock that only the test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture(autouse=True)
def _no_safety_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits is woken, or the test hangs: nothing looks by itself."""
    monkeypatch.setattr(waiting, "SAFETY_POLL_SECONDS", 600.0)


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    return tmp_path / "storage"


@pytest.fixture
def house(database: Database, storage: Path) -> House:
    return house_of(database, storage)


@pytest.fixture
def make_house(migrated_url: str, storage: Path) -> Iterator[MakeHouse]:
    """Make further houses over the same database and storage, as replicas are."""
    with ExitStack() as opened:

        def make(kind: type[Database] = Database) -> House:
            another = kind(migrated_url)
            opened.callback(another.close)
            return house_of(another, storage)

        yield make


@pytest.fixture
def house_sweeper(database: Database, house: House) -> Sweeper:
    return Sweeper(database, house.store, worker="w1", retention=house.retention)


def house_of(database: Database, storage: Path) -> House:
    return House(
        db=database,
        store=Store.open(str(storage)),
        catalogue=CATALOGUE,
        signer=Signer(b"a secret for tests"),
        public_url="https://reelay.test",
        mode="sandbox",
        retention=timedelta(days=30),
        file_retention=timedelta(days=7),
        default_reserve_micros=5_000_000,
    )


BUILT: list[FastAPI] = []


@pytest.fixture
def app(house: House) -> FastAPI:
    """The application, put together once: only its house is new in every test."""
    if not BUILT:
        BUILT.append(routes.build(house))
    BUILT[0].state.house = house
    return BUILT[0]


@pytest.fixture
def caller(database: Database) -> tuple[Caller, str]:
    return make_caller(database)


@pytest.fixture
def me(caller: tuple[Caller, str]) -> Caller:
    return caller[0]


@pytest.fixture
async def client_for(app: FastAPI) -> AsyncIterator[ClientFor]:
    """Return a client with the given key, or with none."""
    async with AsyncExitStack() as opened:

        def make(secret: str | None = None, *, app: FastAPI = app) -> httpx2.AsyncClient:
            headers = {"Authorization": f"Bearer {secret}"} if secret else {}
            client = httpx2.AsyncClient(
                transport=httpx2.ASGITransport(app=app), base_url="https://reelay.test", headers=headers
            )
            opened.push_async_callback(client.aclose)
            return client

        yield make


@pytest.fixture
def client(client_for: ClientFor, caller: tuple[Caller, str]) -> httpx2.AsyncClient:
    return client_for(caller[1])


@pytest.fixture
def operator(client_for: ClientFor, database: Database) -> httpx2.AsyncClient:
    return client_for(make_caller(database, project="operators", scopes=frozenset({Scope.ADMIN}))[1])


async def asleep(database: Database) -> str:
    """Return the topic for which a request sleeps, once one does."""
    async with asyncio.timeout(10):
        while True:
            for topic, events in database.signals._listening.items():
                if any(not waiter.done() for event in events for waiter in event._waiters):
                    return topic
            await asyncio.sleep(0)


def data_uri(data: bytes, kind: str = "jpeg") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def count(database: Database, table: str) -> int:
    with database.transaction() as conn:
        found: int = conn.execute(sa.select(sa.func.count()).select_from(sa.table(table))).scalar_one()
    return found


def stored(storage: Path) -> list[str]:
    """Return what lies in the storage folder."""
    return sorted(str(path.relative_to(storage)) for path in storage.rglob("*") if path.is_file())


def require_error(
    response: httpx2.Response, status: int, *, code: str | None = None, param: Any = ...
) -> dict[str, Any]:
    """Assert that the answer is the envelope, whole, with this status; return the error."""
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"type", "code", "message", "param", "request_id"}
    assert error["request_id"] == response.headers["x-request-id"]
    assert error["message"]
    if code is not None:
        assert error["code"] == code, error
    if param is not ...:
        assert error["param"] == param, error
    return error
