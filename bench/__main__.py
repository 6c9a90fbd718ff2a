"""`python -m bench`: measures everything, or what is named, shows a table and keeps all figures as JSON."""

import argparse
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import (
    claim,
    content,
    costs,
    create,
    events,
    figures,
    flight,
    insert,
    line,
    peer,
    polls,
    read,
    staleness,
    start,
)
from bench.figures import Figure
from bench.plan import ALL, KINDS, NAMED, Loader, Plan

BENCHMARKS: dict[str, Callable[[Plan], list[Figure]]] = {
    "start": start.measure,
    "read": read.measure,
    "content": content.measure,
    "staleness": staleness.measure,
    "line": line.measure,
    "insert": insert.measure,
    "create": create.measure,
    "claim": claim.measure,
    "costs": costs.measure,
    "events": events.measure,
    "polls": polls.measure,
    "flight": flight.measure,
    "peer": peer.measure,
}
RESULTS = Path(__file__).with_name("results")
NO_WRK = (
    "wrk is not installed: Python makes the load, takes a core for it, and all rates come out lower, the floor's most. "
    "`apt-get install wrk` or `brew install wrk` gives truer ratios."
)


def main() -> None:
    """Measure, one benchmark after the other: each may have both cores."""
    given = _parser().parse_args()
    loader: Loader = given.load or ("wrk" if shutil.which("wrk") else "python")
    kinds = (given.only,) if given.only else KINDS
    usual = NAMED if given.benchmarks else ALL
    asked = {name: getattr(given, name) for name in usual if getattr(given, name) is not None}
    plan = Plan(
        loader=loader,
        listeners=given.listeners,
        flights=given.flights,
        lasting=given.lasting,
        kinds=kinds,
        **(usual | asked),
    )
    if loader == "python":
        _say(NO_WRK)
    about = _about(plan)
    _say(f"{about['cores']} cores, load average {about['load_average']}: other work on them spoils the figures.")
    found: dict[str, list[Figure]] = {}
    for name in given.benchmarks or BENCHMARKS:
        began = time.monotonic()
        found[name] = BENCHMARKS[name](plan)
        _say(f"\n{name} ({time.monotonic() - began:.0f} s)\n{figures.table(found[name])}")
    path = given.json or RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    figures.save(path, found, about=about)
    _say(f"\nEvery round: {path}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("benchmarks", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; by default all")
    parser.add_argument("--rounds", type=int, help=_usual("rounds"))
    parser.add_argument("--seconds", type=float, help=f"how long one side is driven in a round; {_usual('seconds')}")
    parser.add_argument("--rows", type=int, help=f"jobs in the larger table that is claimed from; {_usual('rows')}")
    parser.add_argument("--listeners", type=int, default=Plan.listeners, help="who follow live events")
    parser.add_argument("--flights", type=int, default=Plan.flights, help="generations that are watched at once")
    parser.add_argument("--lasting", type=float, default=Plan.lasting, help="median seconds of a watched generation")
    parser.add_argument("--only", choices=KINDS, help="read and create on this database only")
    parser.add_argument("--load", choices=["wrk", "python"], help="what makes the load; wrk where it is installed")
    parser.add_argument("--json", type=Path, metavar="PATH", help="where the figures go; a new file by default")
    return parser


def _usual(name: str) -> str:
    return f"{NAMED[name]:,} where benchmarks are named, else {ALL[name]:,}"


def _about(plan: Plan) -> dict[str, Any]:
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "load": plan.loader,
        "connections": plan.connections,
        "rounds": plan.rounds,
        "seconds": plan.seconds,
    }


def _say(line: str) -> None:
    print(line, flush=True, file=sys.stdout)


if __name__ == "__main__":
    main()
