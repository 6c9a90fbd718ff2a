"""What every layer's tests share: a database of each kind, its schema built by the migrations."""

import gc
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import sqlalchemy as sa
import structlog

from app.db import schema
from app.db.engine import Database
from app.db.tables import metadata
from tests import authorities, canary, compiled
from tests.postgres import Databases, open_postgres

one_database = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
"""For what is decided whatever database lies behind it: what is written then has its tests on both."""


class Clock:
    """The time as it is, plus what a test moved it by. A test that asks for it decides what `Database.now` says."""

    def __init__(self) -> None:
        self.offset = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def move(self, **by: float) -> None:
        self.offset += timedelta(**by)


class Emptied:
    """A migrated database that is given back as the migrations left it: making one for every test takes far longer."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._database = Database(url)
        with self._database.transaction() as conn:
            self._seed = [
                (table, [dict(row._mapping) for row in conn.execute(sa.select(table))])
                for table in metadata.sorted_tables
            ]
        self._watch = " UNION ALL ".join(canary.in_table(table.name) for table in metadata.sorted_tables)

    def empty(self) -> None:
        with self._database.transaction() as conn:
            conn.exec_driver_sql("SET LOCAL lock_timeout = '10s'")  # a test that left a transaction open is told so
            for (table,) in conn.exec_driver_sql(self._watch):
                canary.note(f"the table {table}")
            for table, _ in reversed(self._seed):
                conn.execute(table.delete())
            for table, rows in self._seed:
                if rows:
                    conn.execute(table.insert(), rows)

    def close(self) -> None:
        self._database.close()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: at the end all others would wait for it."""
    items.sort(key=lambda item: "torture" not in item.path.name)


def pytest_collection_finish() -> None:
    """What was loaded and collected stays to the end: looking through it for garbage is in vain."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    """Fail a test that showed the upstream key."""
    report: pytest.TestReport = yield
    if call.when == "teardown":
        seen = canary.take_seen()
        seen += [name for name, text in report.sections if canary.UPSTREAM_KEY in text]
        if seen:
            report.outcome = "failed"
            report.longrepr = f"The upstream key shows in: {', '.join(seen)}"
    return report


authorities.read_once()
compiled.share()


@pytest.fixture(scope="session", autouse=True)
def _plain_tracebacks() -> None:
    """Where no test has set up the logs, a traceback is written as Python does: a pretty one takes ten seconds."""
    *others, _ = structlog.get_config()["processors"]
    lines = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*others, lines])


@pytest.fixture(scope="session", autouse=True)
def _canary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Watch from the first test to the last; then look through all that they left behind."""
    with pytest.MonkeyPatch.context() as patch, canary.watching(patch):
        yield
    for name in canary.in_files(tmp_path_factory.getbasetemp()):
        canary.note(f"the file {name}")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Databases]:
    with open_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def emptied(postgres_server: Databases) -> Iterator[Emptied]:
    """The one Postgres database that tests share, one after the other."""
    url = _for_psycopg(postgres_server.create_database())
    _migrate(url)
    shared = Emptied(url)
    yield shared
    shared.close()


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
    shared: Emptied = request.getfixturevalue("emptied")
    yield shared.url
    shared.empty()


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


@pytest.fixture
def statements(database: Database) -> Iterator[list[str]]:
    """What the database was asked."""
    seen: list[str] = []

    def note(*given: Any) -> None:
        seen.append(given[2])

    sa.event.listen(database.engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(database.engine, "before_cursor_execute", note)
