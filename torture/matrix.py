"""Every fault point x {exception, kill, stall} x {SQLite with 1 and 3 loops, Postgres with 1 and 3 processes}."""

import random
import signal
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import httpx2

from app.sandbox.faults import Odds
from tests.postgres import Databases
from torture.answers import judge_answers
from torture.coverage import Coverage
from torture.house import House, Victim, sandbox
from torture.judge import judge
from torture.operator import Operator
from torture.points import MATRIX_KINDS
from torture.quiet import come_to_rest
from torture.table import Part
from torture.traffic import Traffic

SETUPS = {"sqlite 1 loop": (2, 1, 1), "sqlite 3 loops": (2, 1, 3), "postgres 1": (2, 1, 1), "postgres 3": (1, 3, 1)}
"""How many houses share the cells of each, the victims of a house, and the sets of workers in a victim."""
THOROUGH_SECONDS = 200.0
"""In less there is no hope of reaching every cell."""
LIFE_SECONDS = 8.0
STOP_SECONDS = 9.0
REST_SECONDS = 60.0
"""Kept free, or a third of all, for what is under way to come to its end."""
ORDERLY_SHARE = 0.15
WEATHER = {
    "video-hang": Odds(0.2, "6"),
    "video-503-bare": Odds(0.03),
    "logs-500": Odds(0.05),
    "billing-500": Odds(0.1),
    "poll-500": Odds(0.01),
}
"""What the sandbox does by chance, beside what the traffic asks of it."""


class Lives:
    """One victim's lives, one after the other."""

    def __init__(self, victim: Victim, coverage: Coverage, *, chance: random.Random, part: Part) -> None:
        self._victim, self._coverage, self._chance, self._part = victim, coverage, chance, part
        self._ends_at = 0.0
        self._is_stopping = False

    def look(self) -> None:
        """Begin the next life where one has ended; end the one that has lasted long enough, mostly by a kill."""
        if not self._victim.is_alive:
            self._coverage.note(self._victim.trace())
            self._victim.start(self._coverage.plan(self._chance), wait=False)
            self._ends_at, self._is_stopping = time.monotonic() + LIFE_SECONDS, False
        elif time.monotonic() >= self._ends_at:
            self._end()

    def _end(self) -> None:
        share = 0.75 if self._coverage.wants_an_orderly_end else ORDERLY_SHARE
        if not self._is_stopping and self._chance.random() < share:
            self._victim.signal(signal.SIGTERM)
            self._ends_at, self._is_stopping = time.monotonic() + STOP_SECONDS, True
            return
        self._part.counts["kills"] += 1
        self._part.counts["faults"] += 1
        self._victim.kill()

    def close(self) -> None:
        """End the last life."""
        self._victim.kill()
        self._coverage.note(self._victim.trace())


class Lane:
    """One house of a setup, its own sandbox, and its lives until every cell of the setup has struck."""

    def __init__(
        self, setup: str, number: int, folder: Path, *, coverage: Coverage, seed: int, server: Databases, part: Part
    ) -> None:
        self.setup, self.name, self.coverage = setup, f"{setup} {'ab'[number]}".replace(" ", "-"), coverage
        self._folder, self._server, self._part = folder, server, part
        self._seed = f"{seed} {self.name}"
        self.failure: BaseException | None = None

    def run(self, seconds: float) -> None:
        try:
            with ExitStack() as stack:
                self._run(stack, seconds=seconds)
        except BaseException as error:  # noqa: BLE001  # the other lanes go on, and the table tells
            self.failure = error

    def _run(self, stack: ExitStack, *, seconds: float) -> None:
        chance, began = random.Random(self._seed), time.monotonic()
        url = stack.enter_context(sandbox(self._folder / self.name, seed=chance.randrange(2**31), faults=WEATHER))
        database_url = self._server.create_database() if self.setup.startswith("postgres") else None
        _, victims, sets_of_workers = SETUPS[self.setup]
        house = House(
            self.name,
            self._folder,
            upstream_url=url,
            database_url=database_url,
            sets_of_workers=sets_of_workers,
            retention_days="1",
        )
        stack.callback(house.close)
        lives = [
            Lives(house.victim(f"serve{n}"), self.coverage, chance=chance, part=self._part) for n in range(victims)
        ]
        traffic = Traffic(house, url, seed=chance.randrange(2**31), wanted=self.coverage.open_points)
        operator = Operator(house, url, seed=chance.randrange(2**31))
        for caller in (traffic, operator):
            caller.start()
        deadline = began + seconds - min(REST_SECONDS, seconds / 3)
        while not self.coverage.is_full and time.monotonic() < deadline:
            for each in lives:
                each.look()
            time.sleep(0.02)
        self.coverage.seconds = max(self.coverage.seconds, time.monotonic() - began)
        for each in lives:
            each.close()
        operator.end()
        come_to_rest(self._part, house, traffic)
        self._judge(house, url, traffic, operator)

    def _judge(self, house: House, url: str, traffic: Traffic, operator: Operator) -> None:
        for wrong in (*traffic.wrong[:5], *operator.wrong[:5]):
            self._part.broken.append(f"[{self.name}] {wrong}")
        books = judge(self._part, house, url, accepted=traffic.accepted)
        judge_answers(self._part, books, traffic.asks, traffic.retries, name=self.name)
        struck = httpx2.get(f"{url}/_sandbox/stats").json()["faults_struck"]
        self._part.counts["faults"] += sum(struck.values())
        self._part.counts["accepted"] += len(traffic.accepted)


def run(folder: Path, *, seed: int, seconds: float, server: Databases) -> Part:
    """Run every setup beside the others; return what was seen."""
    part = Part("matrix")
    in_a_hurry = seconds < THOROUGH_SECONDS
    coverages = {setup: Coverage(in_a_hurry=in_a_hurry) for setup in SETUPS}
    lanes = [
        Lane(setup, number, folder, coverage=coverages[setup], seed=seed, server=server, part=part)
        for setup, (houses, _, _) in SETUPS.items()
        for number in range(1 if in_a_hurry else houses)
    ]
    threads = [threading.Thread(target=lane.run, args=(seconds,), daemon=True) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for lane in lanes:
        if lane.failure is not None:
            part.broken.append(f"[{lane.name}] did not come to its end: {lane.failure!r}")
    for setup, coverage in coverages.items():
        _count(part, setup, coverage)
    missing, cells = (
        sum(len(each.missing) for each in coverages.values()),
        sum(each.cells for each in coverages.values()),
    )
    part.cells = f"{cells - missing}/{cells}"
    part.figures.append(f"{part.counts['accepted']} jobs accepted; {part.counts['micros'] / 1e6:.2f} USD on both sides")
    part.figures.append(
        f"requests for a job: {part.counts['refused']} got 5xx and made none by that; {part.counts['cut off']} got no "
        f"answer; {part.counts['asked again']} were sent again with their key, and made one job each"
    )
    return part


def _count(part: Part, setup: str, coverage: Coverage) -> None:
    struck = Counter[str]()
    for (_, kind), times in coverage.struck.items():
        struck[kind] += times
    part.counts["kills"] += struck["kill"]
    part.counts["stalls"] += struck["stall"]
    part.counts["faults"] += struck.total()
    part.counts["exceptions"] += struck["exception"]
    open_kinds: dict[str, list[str]] = {}
    for point, kind in coverage.missing:
        open_kinds.setdefault(point, []).append(kind)
    missing = [
        point
        + ("" if len(kinds) == len(MATRIX_KINDS) else f" ({', '.join(kinds)})")
        + ("" if point in coverage.reached else " [never reached]")
        for point, kinds in open_kinds.items()
    ]
    covered = f"{coverage.cells - len(coverage.missing)} of {coverage.cells} cells over {len(coverage.points)} points"
    figure = f"{setup}: {covered} in {coverage.seconds:.0f} s"
    part.figures.append(figure + (f"; not struck: {'; '.join(missing)}" if missing else ""))
