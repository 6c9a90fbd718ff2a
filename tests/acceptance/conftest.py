"""A deployment on each database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.processes import Process, Server
from tests.tcp import free_port


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """None is Reelay's own default, SQLite; else a fresh Postgres database."""
    if request.param == "sqlite":
        yield None
        return
    server = request.getfixturevalue("postgres_server")
    url = server.create_database()
    yield url
    server.drop_database(url)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A sandbox service as `make serve` starts it."""
    folder = tmp_path_factory.mktemp("server")
    port = free_port()
    arguments = ["app.cli", "serve", "--sandbox", "--sandbox-speed", "30", "--port", str(port)]
    environment = {"REELAY_DATA_DIR": str(folder / "data")}
    process = Process(arguments, log=folder / "serve.log", ready="Development key: ", environment=environment)
    try:
        process.start()
        yield Server(f"127.0.0.1:{port}", process.said().split("Development key: ")[1].split()[0])
        process.stop()
    finally:
        process.close()
