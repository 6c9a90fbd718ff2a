"""What transactions cost, as `make bench BENCH=costs` has measured it, and what their parts cost by that."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.db.together import LARGEST_BATCH
from app.workers import poll
from app.workers.poll import BATCH

SEEN = Path(__file__).with_name("costs.json")
"""What was measured on the machine that docs/scaling.md speaks of."""
IN_FLIGHT = 10_000
"""So many jobs were in flight when the costs were measured."""
WAITING = 64
"""So many projects wait where not one waits alone."""
ADMITTED = 64
POLLERS = poll.AT_ONCE
"""So many a worker asks after at once."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds of one transaction: from its beginning to its commit, of our processor, of the server's."""

    wall_ms: float = 0.0
    own_ms: float = 0.0
    server_ms: float = 0.0
    statements: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.wall_ms + other.wall_ms,
            self.own_ms + other.own_ms,
            self.server_ms + other.server_ms,
            self.statements + other.statements,
        )

    def __mul__(self, times: float) -> "Cost":
        return Cost(self.wall_ms * times, self.own_ms * times, self.server_ms * times, self.statements * times)

    def __sub__(self, other: "Cost") -> "Cost":
        return self + other * -1


def read(path: Path = SEEN) -> dict[str, Cost]:
    """Return what one of each costs, from the JSON of `make bench BENCH=costs`; commits that are told by themselves."""
    told: dict[str, Any] = json.loads(path.read_text("utf-8"))
    medians = {figure["name"]: figure["median"] for figure in told["figures"]["costs"]}

    def of(name: str) -> Cost:
        parts = (medians.get(f"{name}: {part}", 0.0) for part in ("own", "server", "statements"))
        return Cost(medians[name], *parts)

    look, full = of("look at an empty gate"), of("look at a full house")
    alone, one, many = of("admit 1, alone"), of("admit 1"), of(f"admit {ADMITTED}")
    admit_one = (many - one) * (1 / (ADMITTED - 1))
    claim, finished = of("claim polls in vain"), of("settle 1 finished")
    end_one = (of(f"settle {LARGEST_BATCH} finished") - finished) * (1 / (LARGEST_BATCH - 1))
    commit, learn = of("commit what is told"), of("learn")
    return {
        "create": of("create"),
        "look": look,
        "count one in flight": (full - look) * (1 / IN_FLIGHT),
        "pass the gate": alone - full - (full - look) - admit_one - commit,
        "look at a project": (one - alone) * (1 / (WAITING - 1)),
        "admit one": admit_one,
        "send": of("mark as sending") + of("keep the answer"),
        "settle a bought one": of("settle a bought one") - commit,
        "claim polls": claim,
        "claim one poll": (of(f"claim {BATCH} polls") - claim) * (1 / BATCH),
        "poll": Cost(own_ms=medians["poll"]),
        "settle finished": finished - end_one - commit,
        "settle a finished one": end_one,
        "learn": learn - commit,
        "commit": commit,
        "claim saves": of("claim saves in vain"),
        "claim one save": of("claim 1 save") - of("claim saves in vain"),
        "settle a saved one": of("settle a saved one"),
    }


def turned(costs: Mapping[str, Cost], turns: Iterable[str]) -> dict[str, Cost]:
    """Return the costs, those that a turn such as `look=0.5` names so many times as high."""
    changed = dict(costs)
    for turn in turns:
        name, _, factor = turn.partition("=")
        if name not in changed or not factor.replace(".", "", 1).isdecimal():
            raise SystemExit(f"Cannot turn {turn!r}: give NAME=FACTOR, with a name of {', '.join(costs)}.")
        changed[name] *= float(factor)
    return changed
