"""A deployment on each database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import open_postgres


@pytest.fixture(scope="package")
def postgres_urls() -> Iterator[object]:
    with open_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """None is Reelay's own default, SQLite; else a fresh Postgres database."""
    if request.param == "sqlite":
        yield None
        return
    server = request.getfixturevalue("postgres_urls")
    url = server.create_database()
    yield url
    server.drop_database(url)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path
