"""What has struck where so far, and what is to strike next: whatever never did."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torture.house import STALL_SECONDS
from torture.places import all_points
from torture.points import MATRIX_KINDS, OFTEN, Fault, Kind, Plan

Cell = tuple[str, Kind]
MOST: Mapping[Kind, int] = {"exception": 12, "stall": 2}
"""How many may strike in one life: enough is enough to still get some work done. It ends with the first kill."""
ARMED_SHARE, ARMED_SHARE_AT_LAST = 0.6, 0.9
"""Of the points with open cells, in one life: another choice each time. What is rare is not to be reached in vain."""
LAST_POINTS = 30
ARMED_SHARE_IN_A_HURRY = 0.2
"""Where there is no time to reach every cell: so few that most lives get far."""
LONGEST_OUTAGE = 6
STRAY_ODDS = 0.004
AT_THE_STOP = ("commit Sweeper.drain", "commit Submitter._give_back", "commit Saver._save")
"""What happens only, or mostly, while a worker stops in order."""


@dataclass(slots=True)
class Coverage:
    """The cells of one setup: each point and each kind of fault."""

    points: set[str] = field(default_factory=all_points)
    struck: Counter[Cell] = field(default_factory=Counter)
    frequent: set[str] = field(default_factory=set)
    """Points that were reached several times in one life."""
    reached: set[str] = field(default_factory=set)
    is_full: bool = False
    in_a_hurry: bool = False
    seconds: float = 0.0
    """How long it took."""

    def note(self, trace: Iterable[dict[str, Any]]) -> None:
        for line in trace:
            if "hit" in line:
                self.points.add(line["hit"])
                self.reached.add(line["hit"])
                if line["times"] >= OFTEN:
                    self.frequent.add(line["hit"])
            if "struck" in line:
                self.struck[line["struck"], line["kind"]] += 1
        self.is_full = not self.missing

    @property
    def cells(self) -> int:
        return len(MATRIX_KINDS) * len(self.points)

    @property
    def missing(self) -> list[Cell]:
        """Return the cells that never struck."""
        return [(point, kind) for point in sorted(self.points) for kind in self._open(point)]

    def open_points(self) -> list[str]:
        """Return the points with cells that never struck."""
        return [point for point in sorted(self.points) if self._open(point)]

    @property
    def wants_an_orderly_end(self) -> bool:
        """Tell whether something is open that only a stop in order reaches."""
        return any(point.startswith(AT_THE_STOP) for point, _ in self.missing)

    def _open(self, point: str) -> list[Kind]:
        return [kind for kind in MATRIX_KINDS if not self.struck[point, kind]]

    def plan(self, chance: random.Random) -> Plan:
        """Arm a life with one fault at most of the points where some never struck.

        What is often reached fills up first by itself; from then on nothing stands before what is rare.
        """
        open_kinds = {point: kinds for point in sorted(self.points) if (kinds := self._open(point))}
        faults = [
            self._fault(point, chance.choice(kinds), chance=chance)
            for point, kinds in open_kinds.items()
            if chance.random() < self._share(len(open_kinds))
        ]
        return Plan(faults, STRAY_ODDS, chance.randrange(2**32), MOST)

    def _share(self, points: int) -> float:
        if self.in_a_hurry:
            return ARMED_SHARE_IN_A_HURRY
        return ARMED_SHARE if points > LAST_POINTS else ARMED_SHARE_AT_LAST

    def _fault(self, point: str, kind: Kind, *, chance: random.Random) -> Fault:
        hit = chance.randint(1, OFTEN) if point in self.frequent else 1
        if kind != "exception":
            return Fault(point, kind, hit, STALL_SECONDS if kind == "stall" else 0.0)
        foreseen = chance.random() < 0.7
        is_outage = foreseen and not point.startswith("commit")
        return Fault(point, kind, hit, 0.0, foreseen, chance.randint(1, LONGEST_OUTAGE) if is_outage else 1)
