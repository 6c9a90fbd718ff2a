"""One deployment under torture: its database, its storage, its victims; and the sandbox that sells to it."""

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from app.db import access, deployment, schema, webhooks
from app.db.engine import Database
from app.domain.sealing import Sealer
from app.domain.secrets import Scope
from app.sandbox.config import SandboxConfig
from app.sandbox.server import serve as serve_sandbox
from tests.acceptance.processes import SANDBOX_KEY, clean_environment
from tests.tcp import free_port
from torture.points import Plan
from torture.tied import end_with_planner
from torture.victim import Life, live

LEASE_SECONDS = 1.0
STALL_SECONDS = 1.3
WINDOW_SECONDS = 4.0
READY_SECONDS = 40.0
SPEED = 250.0
SIGNING_SECRET = "0123456789abcdef" * 4
REFUSED_URL = "http://127.0.0.1/"
"""Events are owed there, tried and put off: no guard lets them leave."""

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["torture.victim", "app.media.decoder", "psycopg", "app.sandbox.server", "torture.warm"])


class Victim:
    """One process of a house, over all of its lives."""

    def __init__(self, house: "House", name: str, *, api: bool = True, workers: bool = True, **life: Any) -> None:
        self.house, self.name, self.workers, self._life = house, name, workers, life
        self.port = free_port() if api else None
        self.base = f"http://127.0.0.1:{self.port}"
        self.log = house.folder / f"{name}.log"
        self._trace = house.folder / f"{name}.trace"
        self._process: BaseProcess | None = None
        self._read = 0

    def start(self, plan: Plan | None = None, *, wait: bool = True) -> "Victim":
        """Begin a life; with `wait` return once it serves, or is dead already."""
        self._read = self._trace.stat().st_size if self._trace.exists() else 0
        born = Life(
            environment=self.house.environment,
            port=self.port,
            plan=plan or Plan(),
            trace=self._trace,
            log=self.log,
            sets_of_workers=self.house.sets_of_workers,
            workers=self.workers,
            **self._life,
        )
        self._process = _FORKS.Process(target=live, args=(born,), daemon=True)
        self._process.start()
        if wait:
            self.wait_for("ready")
        return self

    def trace(self) -> list[dict[str, Any]]:
        """Return what this life has written down so far."""
        if not self._trace.exists():
            return []
        with self._trace.open("rb") as file:
            file.seek(self._read)
            return [json.loads(line) for line in file.read().splitlines(keepends=True) if line.endswith(b"\n")]

    def wait_for(self, what: str, *, seconds: float = READY_SECONDS) -> dict[str, Any] | None:
        """Return the first note of `what`; None if the victim dies or the time is over before."""
        deadline = time.monotonic() + seconds
        while True:
            alive = self.is_alive
            found = next((note for note in self.trace() if what in note), None)
            if found is not None or not alive or time.monotonic() > deadline:
                return found
            time.sleep(0.01)

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.is_alive()

    @property
    def pid(self) -> int:
        assert self._process is not None
        assert self._process.pid is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.exitcode

    def signal(self, number: signal.Signals) -> None:
        if self.is_alive:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill -9; it is gone on return."""
        self.signal(signal.SIGKILL)
        self.wait_end()

    def stop(self, *, seconds: float = 60.0) -> float:
        """Ask to end in order; return how long that took."""
        began = time.monotonic()
        self.signal(signal.SIGTERM)
        self.wait_end(seconds=seconds)
        return time.monotonic() - began

    def wait_end(self, *, seconds: float = 60.0) -> None:
        if self._process is not None:
            self._process.join(seconds)


_ONE_MIGRATION = threading.Lock()
"""Alembic keeps its context in a global; lanes are opened side by side."""


class House:
    """A database with an operator's key, and the victims that serve it."""

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        upstream_url: str,
        database_url: str | None = None,
        sets_of_workers: int = 1,
        **settings: str,
    ) -> None:
        self.name, self.folder, self.sets_of_workers = name, folder / name, sets_of_workers
        self.folder.mkdir(parents=True, exist_ok=True)
        self.url = _for_psycopg(database_url) if database_url else f"sqlite:///{self.folder / 'data' / 'reelay.db'}"
        self.environment = clean_environment({}) | {
            "REELAY_DATA_DIR": str(self.folder / "data"),
            "REELAY_DATABASE_URL": self.url,
            "REELAY_UPSTREAM_URL": upstream_url,
            "REELAY_UPSTREAM_API_KEY": SANDBOX_KEY,
            "REELAY_SIGNING_SECRET": SIGNING_SECRET,
            "REELAY_POLL_INTERVAL_SECONDS": "0.2",
            "REELAY_UPSTREAM_MAX_IN_FLIGHT": "40",
            "REELAY_SUBMIT_TIMEOUT_SECONDS": "2",
            "REELAY_LEASE_SECONDS": str(LEASE_SECONDS),
            "REELAY_RECONCILE_INTERVAL_SECONDS": "0.3",
            "REELAY_RECONCILE_WINDOW_SECONDS": str(WINDOW_SECONDS),
        }
        self.environment |= {f"REELAY_{setting.upper()}": value for setting, value in settings.items()}
        self.victims: list[Victim] = []
        self.deployment_id, self.key = self._open()

    def _open(self) -> tuple[str, str]:
        """Migrate, make the key of somebody who may do everything, and an endpoint for webhooks."""
        db = Database(self.url)
        try:
            with _ONE_MIGRATION, db.transaction() as conn:
                schema.upgrade(conn)
                now = db.now(conn)
                project = access.create_project(conn, "torture", now=now)
                key, secret = access.create_key(
                    conn,
                    project_id=project.id,
                    name="operator",
                    scopes=frozenset(Scope),
                    subject=None,
                    now=now,
                    expires_at=None,
                )
                sealer = Sealer(SIGNING_SECRET.encode())
                webhooks.create(conn, key, url=REFUSED_URL, events=None, sealer=sealer, now=now)
                return deployment.stamp(conn, mode="real", now=now), secret
        finally:
            db.close()

    def victim(self, name: str = "serve", **role: Any) -> Victim:
        made = Victim(self, name, **role)
        self.victims.append(made)
        return made

    def close(self) -> None:
        for victim in self.victims:
            victim.kill()


@contextmanager
def sandbox(folder: Path, **options: Any) -> Iterator[str]:
    """Run the sandbox in a process of its own, fast, its log unlimited; yield its address."""
    port = free_port()
    defaults: dict[str, Any] = {
        "render": "tiny",
        "speed": SPEED,
        "log_requests_per_minute": 10**6,
        "max_in_flight": 1000,
    }
    config = SandboxConfig(data_dir=folder / "sandbox", **defaults | options)
    process = _FORKS.Process(target=_sell, args=(config, port, folder / "sandbox.log"), daemon=True)
    folder.mkdir(parents=True, exist_ok=True)
    process.start()
    try:
        _wait_for_line(folder / "sandbox.log", "sandbox listening on", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.join()


def _sell(config: SandboxConfig, port: int, log: Path) -> None:
    end_with_planner()
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    serve_sandbox(config, port=port)


def _wait_for_line(log: Path, line: str, process: BaseProcess) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not log.exists() or line not in log.read_text("utf-8"):
        if not process.is_alive() or time.monotonic() > deadline:
            raise RuntimeError(f"the sandbox did not start; see {log}")
        time.sleep(0.02)


def _for_psycopg(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)
