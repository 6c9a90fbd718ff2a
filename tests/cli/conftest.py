"""A served Reelay over a sandbox, and the command as a person, or a script, starts it."""

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from tests import canary, forks
from tests.acceptance.processes import Deployment, Process, clean_environment, sandbox
from tests.factories import picture
from tests.forks import Forked

Run = Callable[..., subprocess.CompletedProcess[str]]
SLOW = "A boat [[fault:slow=400]]"
"""A prompt of a job that does not end during a test."""
FAILING = "A boat [[fault:fail]]"
LOST = "A boat [[fault:reset-before]]"
"""A prompt whose paid request is lost, with nothing bought."""


@dataclass(frozen=True)
class Served:
    """The service that the tests of this package share."""

    process: Process
    url: str
    key: str
    admin_key: str
    upstream_url: str

    @property
    def environment(self) -> dict[str, str]:
        return {"REELAY_URL": self.url, "REELAY_KEY": self.key, "COLUMNS": "200"}

    def newest(self) -> str | None:
        """Return the id of the newest job: a command that leaves it as it is has ordered nothing.

        What the upstream sold would tell less: a job of another test, left to itself, may be bought meanwhile.
        """
        with self.client() as client:
            jobs = client.get("/v1/jobs?limit=1").json()["data"]
        return jobs[0]["id"] if jobs else None

    def client(self, *, key: str | None = None) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, headers={"Authorization": f"Bearer {key or self.key}"}, timeout=30)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    with sandbox(folder, "--speed", "60", "--seed", "1") as upstream:
        house = Deployment(
            folder, upstream_url=upstream, database_url=None, poll_interval_seconds="0.2", upstream_max_in_flight="40"
        )
        try:
            process, url = house.serve()
            yield Served(process, url, house.new_key(), house.new_key(scopes="admin"), upstream)
        finally:
            house.close()


class Started:
    """A command without a terminal, met while it runs."""

    def __init__(self, served: Served, folder: Path, *arguments: str) -> None:
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            environment = clean_environment(served.environment)
            self.process = Forked("app.cli", *arguments, environment=environment, folder=folder, stdout=out, stderr=err)

    def wait_for(self, word: str) -> None:
        """Wait until the command has told people that word."""
        deadline = time.monotonic() + 60
        while word not in self._err.read_text():
            assert self.process.poll() is None, f"it ended before it said {word!r}"
            assert time.monotonic() < deadline, self._err.read_text()
            time.sleep(0.02)

    def end(self) -> tuple[int, str, str]:
        """Wait for its end; return the exit status and what it printed."""
        status = self.process.wait(timeout=60)
        printed = self._out.read_text(), self._err.read_text()
        canary.note_printed(self.process.args, printed)
        return status, *printed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The working folder of the command, with two images and a file that is none."""
    (tmp_path / "cat.jpg").write_bytes(picture())
    (tmp_path / "dog.png").write_bytes(picture("PNG"))
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    return tmp_path


@pytest.fixture
def reelay(served: Served, folder: Path) -> Run:
    """Run a command to its end, without a terminal."""

    def run(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        settings = clean_environment(served.environment | dict(environment or {}))
        return forks.run("app.cli", *arguments, environment=settings, folder=folder)

    return run


@pytest.fixture
def made(served: Served) -> Callable[..., str]:
    """Make a job over HTTP, wait until it has the state that is wanted, and return its id."""

    def make(*, prompt: str = "A boat", state: str = "succeeded", key: str | None = None) -> str:
        with served.client(key=key) as client:
            body = {"model": "veo2", "input": {"prompt": prompt}}
            job = client.post("/v1/jobs", json=body).raise_for_status().json()
            while job["state"] != state:
                answer = client.get(
                    f"/v1/jobs/{job['id']}?wait=20", headers={"If-None-Match": f'"{job["attempts"]}-x"'}
                )
                job = answer.raise_for_status().json()
                assert job["status"] not in ("failed", "canceled", "succeeded") or job["state"] == state, job
            id_: str = job["id"]
            return id_

    return make
