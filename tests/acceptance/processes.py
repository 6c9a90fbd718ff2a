"""Real processes for the acceptance tests: the sandbox, Reelay in its roles, and what they say."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2

from tests import forks
from tests.canary import UPSTREAM_KEY
from tests.tcp import free_port

READY_SECONDS = 60
SANDBOX_KEY = "sandbox-key"


class Server(NamedTuple):
    """Where a service answers, and a key for it."""

    address: str
    key: str


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REELAY_", "AIML_"))}
    return kept | {"PYTHONUNBUFFERED": "1", "REELAY_LOG_FORMAT": "json", **extra}


class Process:
    """One program, its log, and the line by which it says that it is ready."""

    def __init__(
        self, command: list[str], *, log: Path, ready: str, environment: Mapping[str, str], prefix: tuple[str, ...] = ()
    ) -> None:
        self.command, self.log, self._ready, self._environment, self._prefix = command, log, ready, environment, prefix
        self._process: subprocess.Popen[bytes] | forks.Forked | None = None

    def start(self, *, wait: bool = True) -> "Process":
        self._from = self.log.stat().st_size if self.log.exists() else 0
        environment = clean_environment(self._environment)
        with self.log.open("ab") as file:
            if self._prefix:  # another program begins it
                self._process = subprocess.Popen(
                    [*self._prefix, sys.executable, "-m", *self.command],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                    env=environment,
                    start_new_session=True,
                )
            else:
                self._process = forks.Forked(
                    *self.command, environment=environment, stdout=file, stderr=file, session=True
                )
        if wait:
            self.wait_ready()
        return self

    def said(self) -> str:
        """Return what it printed since the last start."""
        with self.log.open("rb") as file:
            file.seek(self._from)
            return file.read().decode("utf-8", "replace")

    def wait_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while self._ready not in self.said():
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.command} did not start:\n{self.said()[-3000:]}")
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None

    def kill(self) -> None:
        """Kill -9, and nothing else."""
        self._signal(signal.SIGKILL)

    def stop(self) -> float:
        """Ask to end in order; return the seconds it took. Exit status 0 is asserted."""
        started = time.monotonic()
        status = self._signal(signal.SIGTERM)
        assert status == 0, f"exit {status}:\n{self.said()[-3000:]}"
        return time.monotonic() - started

    def _signal(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(timeout=60)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@contextmanager
def sandbox(folder: Path, *options: str) -> Iterator[str]:
    """Run the simulated upstream and yield its address. Every film is the same small one."""
    command = ["app.sandbox", "--port", "0", "--data-dir", str(folder / "sandbox"), "--tiny"]
    command += ["--key", SANDBOX_KEY, "--key", UPSTREAM_KEY, *options]
    process = Process(command, log=folder / "sandbox.log", ready="sandbox listening on ", environment={})
    try:
        process.start()
        yield process.said().split("sandbox listening on ")[1].split()[0]
    finally:
        process.close()


class Deployment:
    """One database, one upstream and as many Reelay processes as a test wants."""

    def __init__(
        self,
        folder: Path,
        *,
        upstream_url: str,
        database_url: str | None,
        prefix: tuple[str, ...] = (),
        **settings: str,
    ) -> None:
        self.folder = folder
        self._prefix = prefix
        self.environment = {
            "REELAY_DATA_DIR": str(folder / "data"),
            "REELAY_UPSTREAM_URL": upstream_url,
            "REELAY_UPSTREAM_API_KEY": UPSTREAM_KEY,
            "REELAY_SIGNING_SECRET": "0123456789abcdef" * 4,
            "REELAY_POLL_INTERVAL_SECONDS": "0.3",
            "REELAY_UPSTREAM_MAX_IN_FLIGHT": "10",
        } | {f"REELAY_{name.upper()}": value for name, value in settings.items()}
        if database_url is not None:
            self.environment["REELAY_DATABASE_URL"] = database_url
        self._processes: list[Process] = []

    def run(self, *arguments: str) -> str:
        """Run a short command and return what it printed."""
        done = forks.run("app.cli", *arguments, environment=clean_environment(self.environment))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def new_key(self, project: str = "film", **options: str) -> str:
        known = {row["name"] for row in json.loads(self.run("projects", "list", "--json"))}
        if project not in known:
            self.run("projects", "create", project)
        flags = [word for name, value in options.items() for word in (f"--{name}", value)]
        made = json.loads(self.run("keys", "create", "--project", project, "--name", "test", "--json", *flags))
        key: str = made["key"]
        return key

    def serve(self, *flags: str, name: str = "serve") -> tuple[Process, str]:
        """Return an API process that is ready, and its address, which stays the same over restarts."""
        port = free_port()
        command = ["app.cli", "serve", "--port", str(port), *flags]
        return self._add(command, name=name, ready="Reelay listens on"), f"http://127.0.0.1:{port}"

    def worker(self, name: str) -> Process:
        return self._add(["app.cli", "worker"], name=name, ready="Reelay works.")

    def _add(self, command: list[str], *, name: str, ready: str) -> Process:
        log = self.folder / f"{name}.log"
        process = Process(command, log=log, ready=ready, environment=self.environment, prefix=self._prefix)
        self._processes.append(process)
        return process.start()

    def close(self) -> None:
        for process in self._processes:
            process.close()


def ledger(upstream_url: str) -> dict[str, Any]:
    """Return what the sandbox sold: the judge."""
    answer = httpx2.get(f"{upstream_url}/_sandbox/ledger", params={"limit": 20_000}, timeout=30)
    told: dict[str, Any] = answer.raise_for_status().json()
    return told


def all_jobs(base: str, key: str) -> list[dict[str, Any]]:
    """Return every job of the key's project, page by page."""
    found: list[dict[str, Any]] = []
    with httpx2.Client(base_url=base, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
        after: dict[str, str] = {}
        while True:
            page = client.get("/v1/jobs", params={"limit": "100", "order": "asc", **after}).raise_for_status().json()
            found += page["data"]
            if not page["has_more"]:
                return found
            after = {"after": page["last_id"]}


UNSETTLED = ("queued", "submitting", "generating", "saving")


def wait_for_all(base: str, key: str, *, count: int, seconds: float) -> list[dict[str, Any]]:
    """Wait until every job ended or is visibly unconfirmed, and return them."""
    deadline = time.monotonic() + seconds
    with httpx2.Client(base_url=base, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
        # One small question at a time: listing everything would keep the service busy with us.
        while unsettled := _one_of(client, UNSETTLED):
            if time.monotonic() > deadline:
                states = Counter(job["state"] for job in all_jobs(base, key))
                raise AssertionError(f"not all ended: {states}, such as {unsettled}")
            time.sleep(0.25)
    jobs = all_jobs(base, key)
    assert len(jobs) >= count
    return jobs


def _one_of(client: httpx2.Client, states: Iterable[str]) -> dict[str, Any] | None:
    for state in states:
        page = client.get("/v1/jobs", params={"state": state, "limit": "1"}).raise_for_status().json()["data"]
        if page:
            found: dict[str, Any] = page[0]
            return found
    return None
