"""What every layer's tests share: a database of each kind, its schema built by the migrations."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from app.db import schema
from app.db.engine import Database
from tests.postgres import Databases, open_postgres


class Clock:
    """The time as it is, plus what a test moved it by. A test that asks for it decides what `Database.now` says."""

    def __init__(self) -> None:
        self.offset = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def move(self, **by: float) -> None:
        self.offset += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Databases]:
    with open_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres_server: Databases) -> str:
    """A migrated database to copy: quicker than migrating one for every test."""
    url = postgres_server.create_database()
    _migrate(_for_psycopg(url))
    return url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgres"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Which database a test runs on: both, unless its module has a fixture of this name that says otherwise."""
    kind: str = request.param
    return kind


@pytest.fixture
def migrated_url(request: pytest.FixtureRequest, database_kind: str, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated, empty database."""
    if database_kind == "sqlite":
        path = tmp_path / "reelay.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server: Databases = request.getfixturevalue("postgres_server")
    url = server.create_database(template=request.getfixturevalue("postgres_template"))
    yield _for_psycopg(url)
    server.drop_database(url)


@pytest.fixture
def database(request: pytest.FixtureRequest, migrated_url: str) -> Iterator[Database]:
    """A migrated, empty database, with its own clock unless the test asks for `clock`."""
    moved = request.getfixturevalue("clock") if "clock" in request.fixturenames else None
    opened = Database(migrated_url, clock=moved)
    yield opened
    opened.close()


def _migrate(url: str) -> None:
    database = Database(url)
    with database.transaction() as conn:
        schema.upgrade(conn)
    database.close()


def _for_psycopg(url: str) -> str:
    return urlunsplit(urlsplit(url)._replace(scheme="postgresql+psycopg"))
