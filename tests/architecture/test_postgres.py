"""The Postgres of the tests is real: databases of their own, no root, data that outlives a crash, nothing left."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests import postgres
from tests.postgres import TIME_ZONE, GivenServer, PostgresFailed, PostgresServer, open_postgres


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


def note(url: str, text: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS notes (text text)")
        connection.execute("INSERT INTO notes VALUES (%s)", [text])


def notes(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [text for (text,) in connection.execute("SELECT text FROM notes")]


def test_create_database__each_is_empty_and_apart(server: PostgresServer) -> None:
    first, second = server.create_database(), server.create_database()
    note(first, "one")
    assert notes(first) == ["one"]
    with pytest.raises(psycopg.errors.UndefinedTable):
        notes(second)


def test_create_database__copies_its_template(server: PostgresServer) -> None:
    template = server.create_database()
    note(template, "from the template")
    copy = server.create_database(template=template)
    note(copy, "of the copy")
    assert notes(copy) == ["from the template", "of the copy"]
    assert notes(template) == ["from the template"]


def test_drop_database__ends_open_connections(server: PostgresServer) -> None:
    url = server.create_database()
    with psycopg.connect(url), pytest.raises(psycopg.OperationalError):
        server.drop_database(url)
        psycopg.connect(url)


def test_settings__zone_and_encoding(server: PostgresServer) -> None:
    with psycopg.connect(server.create_database()) as connection:
        found = connection.execute("SELECT current_setting('TimeZone'), current_setting('server_encoding')").fetchone()
    assert found == (TIME_ZONE, "UTF8")


def test_server__runs_as_non_root_user(server: PostgresServer) -> None:
    # Postgres starts only for the owner of its data.
    assert server.data.stat().st_uid != 0


@pytest.mark.parametrize("end", [PostgresServer.kill, PostgresServer.stop])
def test_restart__keeps_data_and_address(server: PostgresServer, end: Callable[[PostgresServer], None]) -> None:
    url = server.create_database()
    note(url, "committed just before")
    end(server)
    with pytest.raises(psycopg.OperationalError):
        notes(url)
    server.start()
    assert notes(url) == ["committed just before"]


def test_server__leaves_nothing_when_killed() -> None:
    program = """if True:
        import sys, tests.postgres
        with tests.postgres.PostgresServer() as server:
            print(server.folder, server.url, flush=True)
            sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        folder, url = process.stdout.readline().split()
        note(url, "it runs")
        process.kill()
        process.stdout.read()  # ends when the last process that can write there has ended: the one that tidies up
    assert not Path(folder).exists()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)


def test_given_server__drops_what_it_created(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_DATABASE_URL", server.url)
    with open_postgres() as given:
        assert isinstance(given, GivenServer)
        url = given.create_database()
        note(url, "there")
        with psycopg.connect(url) as connection:
            assert connection.execute("SHOW timezone").fetchone() == (TIME_ZONE,)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


def test_start__says_why_it_failed_and_what_to_do(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.stop()
    with monkeypatch.context() as patch, pytest.raises(PostgresFailed, match=r"(?s)max_connections.*TEST_DATABASE_URL"):
        patch.setitem(postgres.SETTINGS, "max_connections", "none")
        server.start()
    server.start()
