"""The victim: the real service with its real settings, in a process that ends when its plan says so.

It is forked from a process that has everything imported already, so that a life begins within a fraction of a second.
"""

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.cli import serving
from app.db.engine import Connection, Database
from app.main import Role, serve, work
from app.settings import Settings
from torture import hurry, points
from torture.points import Plan, Striker
from torture.tied import end_with_planner


@dataclass(frozen=True, slots=True)
class Life:
    """All that a victim is born with."""

    environment: Mapping[str, str]
    port: int | None
    """None: workers only."""
    plan: Plan
    trace: Path
    log: Path
    sets_of_workers: int = 1
    clock_ahead_seconds: float = 0.0
    file_limit_bytes: int | None = None
    workers: bool = True
    hurried_loops: bool = True
    """Whether the sweep, too, comes more often than in life, and a duty that failed tries again sooner."""
    probes_once: bool = False
    """Look into the first video only: where a thousand jobs end in the same file."""


def live(life: Life) -> None:
    """Serve until killed or told to stop; never longer than whoever planned this life."""
    end_with_planner()
    _into(life.log)
    os.environ.update(life.environment)
    striker = Striker(life.plan, life.trace)
    points.install(striker)
    hurry.install(sets_of_workers=life.sets_of_workers, loops=life.hurried_loops)
    if life.probes_once:
        hurry.probe_once()
    if life.clock_ahead_seconds:
        _set_clock(life.clock_ahead_seconds)
    settings = Settings.load()
    serving.configure_logs(settings)
    striker.note(begun=os.getpid())

    def ready() -> None:
        striker.note(ready=True)

    serving.run(_main(settings, life, ready=ready))
    striker.note(ended=True)


async def _main(settings: Settings, life: Life, *, ready: Callable[[], None]) -> None:
    if life.port is None:
        await work(settings, Role(api=False), ready=ready)
        return
    listener = socket.create_server(("127.0.0.1", life.port), backlog=512)
    listener.setblocking(False)
    role = Role(workers=life.workers, public_url=f"http://127.0.0.1:{life.port}")
    await serve(settings, role, listener=listener, ready=ready)


def _set_clock(ahead_seconds: float) -> None:
    """Let this victim's database say another time than it is."""
    ahead = timedelta(seconds=ahead_seconds)
    now = Database.now

    def moved(self: Database, conn: Connection) -> datetime:
        return now(self, conn).astimezone(UTC) + ahead

    Database.now = moved  # type: ignore[method-assign]


def _into(log: Path) -> None:
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
