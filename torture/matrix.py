"""Every fault point x {exception, kill, stall} x {SQLite with 1 and 3 loops, Postgres with 1 and 3 processes}."""

import random
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from tests.postgres import Databases
from torture.house import STALL_SECONDS, House, Victim, sandbox
from torture.judge import judge
from torture.points import MATRIX_KINDS, Fault, Plan
from torture.quiet import come_to_rest
from torture.table import Part
from torture.traffic import Traffic

Cell = tuple[str, str]
SETUPS = {"sqlite 1 loop": (1, 1), "sqlite 3 loops": (1, 3), "postgres 1": (1, 1), "postgres 3": (3, 1)}
"""Victims and sets of workers in each."""
DRY_SECONDS = 6.0
LIFE_SECONDS = 2.5
EXCEPTIONS_A_LIFE = 6
STRAY_ODDS = 0.004
GRACEFUL_SHARE = 0.15


@dataclass(slots=True)
class Coverage:
    """Which points there are, and which cells have struck."""

    points: set[str] = field(default_factory=set)
    struck: Counter[Cell] = field(default_factory=Counter)
    tried: Counter[Cell] = field(default_factory=Counter)

    def note(self, victim: Victim) -> None:
        for line in victim.trace():
            if "hit" in line:
                self.points.add(line["hit"])
            if "struck" in line:
                self.struck[line["struck"], line["kind"]] += 1

    def open_cells(self, kind: str) -> list[Cell]:
        """Return the cells of a kind that never struck."""
        return sorted((point, kind) for point in self.points if not self.struck[point, kind])

    @property
    def cells(self) -> int:
        return len(MATRIX_KINDS) * len(self.points)

    @property
    def missing(self) -> list[Cell]:
        return [cell for kind in MATRIX_KINDS for cell in self.open_cells(kind)]

    def plan(self, chance: random.Random) -> Plan:
        """Choose a life's faults among the open cells, those tried least first; it ends by a kill."""
        chosen = [
            *self._some("kill", 1, chance=chance),
            *self._some("stall", 1, chance=chance),
            *self._some("exception", EXCEPTIONS_A_LIFE, chance=chance),
        ]
        taken: dict[str, Fault] = {}
        for point, kind in chosen:
            seconds = STALL_SECONDS if kind == "stall" else 0.0
            fault = Fault(point, kind, 1, seconds, chance.random() < 0.7)  # type: ignore[arg-type]
            taken.setdefault(point, fault)
        for fault in taken.values():
            self.tried[fault.point, fault.kind] += 1
        return Plan(list(taken.values()), STRAY_ODDS, chance.randrange(2**32))

    def _some(self, kind: str, count: int, *, chance: random.Random) -> list[Cell]:
        cells = self.open_cells(kind)
        chance.shuffle(cells)
        return sorted(cells, key=lambda cell: self.tried[cell])[:count]


class Lane:
    """One setup: its house, its own sandbox, and its lives one after the other until every cell has struck."""

    def __init__(self, name: str, folder: Path, *, seed: int, server: Databases | None, part: Part) -> None:
        self.name, self._folder, self._server, self._part = name, folder, server, part
        self._seed = f"{seed} {name}"
        self.coverage = Coverage()
        self.failure: BaseException | None = None

    def run(self, seconds: float) -> None:
        try:
            with ExitStack() as stack:
                self._run(stack, deadline=time.monotonic() + seconds)
        except BaseException as error:  # noqa: BLE001  # the other lanes go on, and the table tells
            self.failure = error

    def _run(self, stack: ExitStack, *, deadline: float) -> None:
        chance = random.Random(self._seed)
        short = self.name.replace(" ", "-")
        url = stack.enter_context(sandbox(self._folder / short, seed=chance.randrange(2**31)))
        database_url = self._server.create_database() if self._server else None
        victims, sets_of_workers = SETUPS[self.name]
        house = House(short, self._folder, upstream_url=url, database_url=database_url, sets_of_workers=sets_of_workers)
        stack.callback(house.close)
        for number in range(victims):
            house.victim(f"serve{number}").start()
        traffic = Traffic(house, url, seed=chance.randrange(2**31))
        traffic.start()
        self._dry_run(house, seconds=min(DRY_SECONDS, (deadline - time.monotonic()) / 4))
        while self.coverage.missing and time.monotonic() < deadline:
            self._live(house, chance)
        come_to_rest(self._part, house, traffic)
        for wrong in traffic.wrong[:5]:
            self._part.broken.append(f"[{self.name}] {wrong}")
        judge(self._part, house, url, accepted=traffic.accepted)
        struck = httpx2.get(f"{url}/_sandbox/stats").json()["faults_struck"]
        self._part.counts["faults"] += sum(struck.values())
        self._part.counts["accepted"] += len(traffic.accepted)

    def _dry_run(self, house: House, *, seconds: float) -> None:
        """Learn the points: live without a fault for a while, and stop in order."""
        time.sleep(seconds)
        for victim in house.victims:
            victim.stop(seconds=15)
            self.coverage.note(victim)

    def _live(self, house: House, chance: random.Random) -> None:
        """One life of every victim: until all are dead, or its time is over; then it is ended, mostly by a kill."""
        for victim in house.victims:
            victim.start(self.coverage.plan(chance), wait=False)
        deadline = time.monotonic() + LIFE_SECONDS
        while any(victim.is_alive for victim in house.victims) and time.monotonic() < deadline:
            time.sleep(0.02)
        for victim in house.victims:
            if victim.is_alive and chance.random() < GRACEFUL_SHARE:
                victim.stop(seconds=15)
            if victim.is_alive:
                self._part.counts["kills"] += 1
                self._part.counts["faults"] += 1
                victim.kill()
            self.coverage.note(victim)


def run(folder: Path, *, seed: int, seconds: float, server: Databases) -> Part:
    """Run every setup beside the others; return what was seen."""
    part = Part("matrix")
    lanes = [
        Lane(name, folder, seed=seed, server=server if name.startswith("postgres") else None, part=part)
        for name in SETUPS
    ]
    threads = [threading.Thread(target=lane.run, args=(seconds,)) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for lane in lanes:
        if lane.failure is not None:
            part.broken.append(f"[{lane.name}] did not come to its end: {lane.failure!r}")
        _count(part, lane)
    missing, cells = sum(len(lane.coverage.missing) for lane in lanes), sum(lane.coverage.cells for lane in lanes)
    part.cells = f"{cells - missing}/{cells}"
    part.figures.append(f"{part.counts['accepted']} jobs accepted; {part.counts['micros'] / 1e6:.2f} USD on both sides")
    return part


def _count(part: Part, lane: Lane) -> None:
    coverage, struck = lane.coverage, Counter[str]()
    for (_, kind), times in coverage.struck.items():
        struck[kind] += times
    part.counts["kills"] += struck["kill"]
    part.counts["stalls"] += struck["stall"]
    part.counts["faults"] += struck.total()
    missing = ", ".join(f"{kind} at {point}" for point, kind in coverage.missing[:6])
    covered = f"{coverage.cells - len(coverage.missing)} of {coverage.cells} cells over {len(coverage.points)} points"
    part.figures.append(f"{lane.name}: {covered}" + (f"; not reached: {missing}" if missing else ""))
