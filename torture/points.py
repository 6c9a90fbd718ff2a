"""Fault points: every commit and network boundary of the service has a name, and a plan says what strikes there.

Nothing in the service knows of them. The victim wraps the few doors that everything passes (`Database.write`, the
upstream client, the storage, the download) before the service starts, so that new code is covered by itself.
"""

import json
import math
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial, wraps
from pathlib import Path
from typing import Any, Literal

from app import back_room
from app.db.engine import Database
from app.domain.actor import Actor
from app.domain.errors import DownloadFailed, FetchFailed, NotSent, StorageFailed, Unavailable, Unconfirmed
from app.media.store import Store
from app.upstream.client import UpstreamClient

Kind = Literal["exception", "kill", "stall", "pause"]
MATRIX_KINDS: tuple[Kind, ...] = ("exception", "kill", "stall")
MOVES = ("Submitter._submit", "Saver._copy")
"""The commits by which a worker moves what it holds a lease on."""
WRAPPED = {
    UpstreamClient: ("submit", "fetch", "log_page", "balance", "prices", "transactions"),
    Store: ("put_file", "put_bytes", "copy", "read", "list", "delete"),
}
REASON = "torture"
OFTEN = 3
"""So many hits in one life are noted too: then a fault may wait for a later one."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What strikes when `point` is reached for the `hit`-th time."""

    point: str
    kind: Kind
    hit: int = 1
    seconds: float = 0.0
    foreseen: bool = True
    """Whether an exception is of the kind that the boundary documents, or one that nobody thought of."""
    times: int = 1
    """How many hits in a row it strikes: an outage is more than one mishap."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The faults of one life, and the odds that an exception strikes at any point besides."""

    faults: Sequence[Fault] = ()
    odds: float = 0.0
    seed: int = 0
    most: Mapping[Kind, int] = field(default_factory=dict)
    """How many faults of a kind may strike; any number of a kind that is not named."""


class Striker:
    """Counts how often each point was reached, writes down what happens, and strikes as planned.

    What it writes is there after a SIGKILL: each line is one write to the trace.
    """

    def __init__(self, plan: Plan, trace: Path) -> None:
        self._trace = os.open(trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._planned = {(f.point, f.hit + again): f for f in plan.faults for again in range(f.times)}
        self._odds, self._chance, self._most = plan.odds, random.Random(plan.seed), plan.most
        self._hits: Counter[str] = Counter()
        self._struck: Counter[Kind] = Counter()

    def note(self, **what: Any) -> None:
        os.write(self._trace, json.dumps({"at": time.time(), "pid": os.getpid(), **what}).encode() + b"\n")

    def entered(self, name: str, work: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return the transaction function, with a point at its uncommitted end if something is planned there."""
        point = f"commit {name} inside"
        if not any(planned == point for planned, _ in self._planned):
            return work

        def within(conn: Any) -> Any:
            result = work(conn)
            self.reach(point)
            return result

        return within

    def reach(self, point: str) -> None:
        """Go on, raise, die or stall."""
        self._hits[point] += 1
        if self._hits[point] in (1, OFTEN):
            self.note(hit=point, times=self._hits[point])
        fault = self._planned.get((point, self._hits[point]))
        if fault is None and self._chance.random() < self._odds:
            fault = Fault(point, "exception", foreseen=self._chance.random() < 0.8)
        if fault is not None and self._struck[fault.kind] < self._most.get(fault.kind, math.inf):
            self._struck[fault.kind] += 1
            self._strike(fault)

    def _strike(self, fault: Fault) -> None:
        self.note(struck=fault.point, kind=fault.kind)
        match fault.kind:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "pause":
                signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # by name: it is this thread that stops here
                self.note(continued=fault.point)
            case "stall":
                time.sleep(fault.seconds)  # the whole loop stands still, and with it the renewal of every lease
            case "exception":
                raise trouble(fault)


def trouble(fault: Fault) -> Exception:
    """Return what the boundary raises when things go wrong there.

    After a commit it is always what a lost connection looks like: nothing else can happen once it is durable.
    """
    boundary, *_, moment = fault.point.split(" ")
    if boundary == "commit" and (fault.foreseen or moment == "after"):
        return Unavailable("The database went away.", code="database_unavailable", retry_after=1)
    if not fault.foreseen:
        return RuntimeError(REASON)
    match boundary:
        case "upstream" if " submit " in fault.point:
            return NotSent(REASON) if moment == "before" else Unconfirmed(REASON)
        case "upstream":
            return FetchFailed(REASON)
        case "download":
            return DownloadFailed(REASON)
        case _:
            return StorageFailed(REASON)


def name_of(work: Callable[..., Any]) -> str:
    """Return the transaction function's name, or that of the function it was made in."""
    while isinstance(work, partial):
        work = work.func
    return work.__qualname__.replace(".<locals>", "").replace(".<lambda>", "")


def boundary_of(owner: type) -> str:
    """Return what lies behind the door."""
    return "upstream" if owner is UpstreamClient else "storage"


def install(striker: Striker) -> None:
    """Wrap every door of the service in this process."""
    _wrap_commits(striker)
    for owner, names in WRAPPED.items():
        for name in names:
            setattr(owner, name, _around(getattr(owner, name), f"{boundary_of(owner)} {name}", striker))
    vars(back_room)["download"] = _around(vars(back_room)["download"], "download", striker)


def _around(original: Callable[..., Any], point: str, striker: Striker) -> Callable[..., Any]:
    @wraps(original)
    async def wrapped(*args: Any, **given: Any) -> Any:
        striker.reach(f"{point} before")
        if point == "upstream submit":
            striker.note(posted=given["request_id"])
        result = await original(*args, **given)
        striker.reach(f"{point} after")
        return result

    return wrapped


def _leased(name: str, result: Any) -> list[tuple[str, str]]:
    """Return the ids and lease tokens of what a claim has taken."""
    match name:
        case "Submitter._admit":
            return [(job.id, job.lease_token) for job, _ in result]
        case "Saver.run_once":
            return [(job.id, job.lease_token) for job in result]
        case _:
            return []


def _wrap_commits(striker: Striker) -> None:
    write, transaction = Database.write, Database.transaction

    @wraps(write)
    async def wrapped_write(self: Database, work: Callable[..., Any], *, by: Actor | None = None) -> Any:
        name = name_of(work)
        striker.reach(f"commit {name} before")
        result = await write(self, striker.entered(name, work), by=by)
        if name in MOVES:
            striker.note(settled=None if result is None else [result.id, str(result.state)], by=name)
        if leased := _leased(name, result):
            striker.note(leased=leased)
        striker.reach(f"commit {name} after")
        return result

    @contextmanager
    def wrapped_transaction(self: Database, *, by: Actor | None = None) -> Iterator[Any]:
        striker.reach("commit prepare_database before")
        with transaction(self, by=by) as conn:
            yield conn
        striker.reach("commit prepare_database after")

    Database.write = wrapped_write  # type: ignore[method-assign]
    Database.transaction = wrapped_transaction  # type: ignore[method-assign]
