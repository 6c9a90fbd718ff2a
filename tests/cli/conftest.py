"""A served Reelay over a sandbox, and the command as a person, or a script, starts it."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from tests.acceptance.processes import Deployment, Process, clean_environment, ledger, sandbox
from tests.factories import picture

Run = Callable[..., subprocess.CompletedProcess[str]]
SLOW = "A boat [[fault:slow=400]]"
"""A prompt of a job that does not end during a test."""
FAILING = "A boat [[fault:fail]]"


@dataclass(frozen=True)
class Served:
    """The service that the tests of this package share."""

    process: Process
    url: str
    key: str
    upstream_url: str

    @property
    def environment(self) -> dict[str, str]:
        return {"REELAY_URL": self.url, "REELAY_KEY": self.key, "COLUMNS": "200"}

    def sold(self) -> int:
        """Return how many generations were bought so far."""
        count: int = ledger(self.upstream_url)["count"]
        return count

    def client(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=30)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    with sandbox(folder, "--speed", "60", "--seed", "1") as upstream:
        house = Deployment(
            folder, upstream_url=upstream, database_url=None, poll_interval_seconds="0.2", upstream_max_in_flight="40"
        )
        try:
            process, url = house.serve()
            yield Served(process, url, house.new_key(), upstream)
        finally:
            house.close()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "app.cli", *arguments]


def started(served: Served, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a command without a terminal, to be met while it runs."""
    return subprocess.Popen(
        command(*arguments),
        cwd=folder,
        env=clean_environment(served.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(word: str, process: subprocess.Popen[str]) -> None:
    """Read what the command tells people until that word comes."""
    assert process.stderr is not None
    while word not in (line := process.stderr.readline()):
        assert line, f"it ended before it said {word!r}"


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
        return subprocess.run(
            command(*arguments),
            cwd=folder,
            env=clean_environment(served.environment | dict(environment or {})),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


@pytest.fixture
def made(served: Served) -> Callable[..., str]:
    """Make a job over HTTP, wait until it has the state that is wanted, and return its id."""

    def make(*, prompt: str = "A boat", state: str = "succeeded") -> str:
        with served.client() as client:
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
