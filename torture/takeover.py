"""Takeover: how long after kill -9 of a worker somebody else has what it held. The sweep keeps its interval of life."""

import random
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from app.db import tables
from tests.postgres import Databases
from torture.house import LEASE_SECONDS, House, Victim, sandbox
from torture.judge import judge
from torture.lanes import run_side_by_side
from torture.points import Fault, Plan
from torture.quiet import come_to_rest
from torture.table import Part, percentile
from torture.traffic import Traffic

SLACK_SECONDS = 5.0
POINTS = (
    "commit Submitter._admit after",
    "commit Submitter._send before",
    "upstream submit before",
    "upstream submit after",
    "commit Submitter._keep after",
    "commit Saver.run_once after",
    "download after",
    "commit Saver._copy before",
)
MISHAPS = ("hang-before=2*1", "hang-after=2", "hang-after=3")
"""POSTs that take a while: a worker that dies has several in hand."""
LIFE_SECONDS = (1.0, 2.5)
AS_IN_LIFE: dict[str, Any] = {"hurried_loops": False, "probes_once": True}
MOST_SECONDS = 30.0
WATCH_SECONDS = 0.02
JOBS = tables.jobs.c


@dataclass(frozen=True, slots=True)
class Held:
    """A lease of a worker that died."""

    job_id: str
    token: str
    died_at: float


class Watch(threading.Thread):
    """Looks at what dead workers held until each job has another lease, or none."""

    def __init__(self, house: House) -> None:
        super().__init__(daemon=True)
        self._engine = sa.create_engine(house.url)
        self._waiting: list[Held] = []
        self._ended = threading.Event()
        self.taken: list[float] = []
        self.forgotten: list[str] = []

    def died(self, victim: Victim, at: float) -> None:
        """Take note of every lease that is still the dead victim's."""
        tokens = {token for note in victim.trace() for _, token in note.get("leased", ())}
        with self._engine.connect() as conn:
            held = conn.execute(sa.select(JOBS.id, JOBS.lease_token).where(JOBS.lease_token.in_(tokens))).all()
        self._waiting += [Held(row.id, row.lease_token, at) for row in held]

    def run(self) -> None:
        while self._waiting or not self._ended.is_set():
            waiting = list(self._waiting)
            with self._engine.connect() as conn:
                query = sa.select(JOBS.id, JOBS.lease_token).where(JOBS.id.in_({held.job_id for held in waiting}))
                now_held = {(row.id, row.lease_token) for row in conn.execute(query)}
            now = time.time()
            for held in waiting:
                if (held.job_id, held.token) not in now_held:
                    self.taken.append(now - held.died_at)
                elif now - held.died_at > MOST_SECONDS:
                    self.forgotten.append(held.job_id)
                else:
                    continue
                self._waiting.remove(held)
            time.sleep(WATCH_SECONDS)

    def wait_until_taken(self) -> None:
        while self._waiting:
            time.sleep(WATCH_SECONDS)

    def end(self) -> None:
        """Wait for what is not taken over yet."""
        self._ended.set()
        self.join(2 * MOST_SECONDS)
        self._engine.dispose()


def run(folder: Path, *, seed: int, seconds: float, server: Databases) -> Part:
    """Kill one worker after the other under load: on Postgres another lives on, on SQLite the same starts anew."""
    lane = partial(_run, folder=folder, seed=seed, seconds=seconds)
    lanes = {
        "SQLite": partial(lane, name="SQLite", server=None),
        "Postgres": partial(lane, name="Postgres", server=server),
    }
    return run_side_by_side("takeover", lanes)


def _run(part: Part, *, name: str, folder: Path, seed: int, seconds: float, server: Databases | None) -> None:
    chance = random.Random(f"{seed} {name}")
    deadline = time.monotonic() + seconds
    with ExitStack() as stack:
        url = stack.enter_context(sandbox(folder / name, seed=seed))
        database_url = server.create_database() if server else None
        slow: dict[str, Any] = {"upstream_max_in_flight": "100", "submit_timeout_seconds": "20"}
        house = House(f"takeover-{name}", folder, upstream_url=url, database_url=database_url, **slow)
        stack.callback(house.close)
        doomed = _open(house, shared=server is not None)
        traffic = Traffic(house, url, seed=seed, pause_seconds=0.01, lively=False, mishaps=MISHAPS)
        watch = Watch(house)
        traffic.start()
        watch.start()
        while time.monotonic() < deadline:
            point = chance.choice(POINTS) if server else None
            _live_and_die(doomed, watch, point, chance)
            part.counts["kills"] += 1
            part.counts["faults"] += 1
        doomed.start()
        watch.end()
        _report(part, name, watch)
        come_to_rest(part, house, traffic)
        judge(part, house, url, accepted=traffic.accepted)


def _open(house: House, *, shared: bool) -> Victim:
    """Start who lives on; return who is to die again and again."""
    if not shared:
        return house.victim("doomed", **AS_IN_LIFE)
    house.victim("api", workers=False, **AS_IN_LIFE).start()
    house.victim("survivor", api=False, **AS_IN_LIFE).start()
    return house.victim("doomed", api=False, **AS_IN_LIFE)


def _live_and_die(doomed: Victim, watch: Watch, point: str | None, chance: random.Random) -> None:
    """One life, ended at a point that is reached with work in hand, or wherever it is after a while.

    Without a point nobody else is there: it lives until it has taken over from itself.
    """
    doomed.start(Plan([Fault(point, "kill", hit=chance.randint(10, 50))] if point else []))
    if point is None:
        watch.wait_until_taken()
    doomed.wait_end(seconds=chance.uniform(*LIFE_SECONDS))
    at = time.time()
    doomed.kill()
    struck = next((note for note in doomed.trace() if note.get("kind") == "kill"), None)
    watch.died(doomed, struck["at"] if struck else at)


def _report(part: Part, name: str, watch: Watch) -> None:
    part.require(not watch.forgotten, f"[{name}] nobody took over {watch.forgotten} within {MOST_SECONDS:g} s")
    part.require(bool(watch.taken), f"[{name}] no takeover was seen")
    if watch.taken:
        half, most, longest = (percentile(watch.taken, share) for share in (0.5, 0.99, 1.0))
        part.figures.append(
            f"{name}, lease {LEASE_SECONDS:g} s: {len(watch.taken)} leases of {part.counts['kills']} killed workers"
            f" taken over after {half:.2f} s at the median, {most:.2f} s at p99, {longest:.2f} s at most"
        )
        part.require(most <= LEASE_SECONDS + SLACK_SECONDS, f"[{name}] takeover took {most:.2f} s at p99")
