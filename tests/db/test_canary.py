"""The watch over the upstream key sees what it is to see; what it saw here is taken back, or each test would fail."""

import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from app.db import deployment
from app.db.engine import Database
from tests import canary
from tests.canary import UPSTREAM_KEY
from tests.conftest import Emptied
from tests.postgres import Databases


def answer(request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(200, json={"key": UPSTREAM_KEY}, headers={"X-Key": "none"})


def test_watch__sees_an_answer() -> None:
    with httpx2.Client(transport=httpx2.MockTransport(answer)) as client:
        client.get("https://reelay.test/v1/jobs?signature=x")
        assert canary.take_seen() == ["the answer to GET https://reelay.test/v1/jobs"]
        client.get("https://upstream.test/", headers={"Authorization": f"Bearer {UPSTREAM_KEY}"})
        assert canary.take_seen() == []


async def test_watch__sees_an_answer_to_async_clients_and_its_headers() -> None:
    def respond(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(204, headers={"X-Key": UPSTREAM_KEY})

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(respond)) as client:
        await client.delete("https://reelay.test/")
    assert canary.take_seen() == ["the answer to DELETE https://reelay.test/"]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_watch__sees_what_a_command_prints(stream: str) -> None:
    code = "import sys; print(sys.argv[1], file=getattr(sys, sys.argv[2]))"
    subprocess.run([sys.executable, "-c", code, UPSTREAM_KEY, stream], check=True, capture_output=True)
    [seen] = canary.take_seen()
    assert seen.startswith("what this printed")


def test_in_files__finds_it_in_a_database_and_a_log(tmp_path: Path, sqlite_template: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "server.log").write_bytes(b"\x00" * 5000 + UPSTREAM_KEY.encode())
    (tmp_path / "empty").touch()
    (tmp_path / "other.log").write_text(UPSTREAM_KEY[:-1])
    database = Database(f"sqlite:///{tmp_path / 'reelay.db'}")
    with database.transaction() as conn:
        conn.exec_driver_sql("CREATE TABLE t (x)")
        conn.exec_driver_sql("INSERT INTO t VALUES (?)", (f"a {UPSTREAM_KEY} b",))
    database.close()
    found = canary.in_files(tmp_path)
    assert found[0] == "a/server.log" and found[1].startswith("reelay.db")
    for path in tmp_path.rglob("*"):
        if path.is_file():
            path.unlink()  # else the last look of all would find them too


def test_watch__sees_it_in_postgres(emptied: Emptied, postgres_server: Databases) -> None:
    database = Database(emptied.url)
    with database.transaction() as conn:
        deployment.stamp(conn, mode="sandbox", now=database.now(conn))
        deployment.save_prices(conn, etag="e", rules={"m": {"kind": UPSTREAM_KEY}}, now=database.now(conn))
    database.close()
    plain = emptied.url.replace("+psycopg", "")
    assert canary.in_postgres(plain) == ["price_list"]
    emptied.empty()
    assert canary.take_seen() == ["the table price_list"]
    assert canary.in_postgres(plain) == []
    url = postgres_server.create_database()
    assert canary.in_postgres(url) == []
    postgres_server.drop_database(url)
