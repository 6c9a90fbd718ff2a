"""`python -m bench.simulate`: a million jobs through a hundred workers in virtual time, without a socket or a sleep.

Reports how late ends are noticed, what the upstream is asked, how fair admission is and what the database has to do.
"""

import argparse
import math
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from bench import spent
from bench.simulation import Scenario, Simulation
from bench.spent import Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of it. Rates are over the whole time, from the first job to the last."""

    hours: float
    jobs_per_second: float
    lag_p50_seconds: float
    lag_p99_seconds: float
    polls_per_job: float
    upstream_per_second: float
    fairness: float
    """Jain's index over the crowds while all of them wait: 1 if each was admitted as often as the others."""
    turn_seconds: float
    """How long it takes to admit one job of every project."""
    worst_wait_seconds: float
    """The p99 of the waits of that project, of those asking for less than their share, which waits longest."""
    statements_per_second: float
    looks_per_second: float
    gate_busy: float
    learning_busy: float
    telling_busy: float
    database_cores: float
    worker_cores: float
    """Of all workers together."""


def report(done: Simulation) -> Report:
    """Return what the simulation that has run shows."""
    jobs, seconds = done.scenario.jobs, done.now
    lags = sorted(noticed - ends for noticed, ends in zip(done.noticed, done.ends, strict=True))
    total = sum((done.scenario.costs[name] * count for name, count in done.done.items()), Cost())
    waits = defaultdict(list)
    for project, created, admitted in zip(done.project, done.created, done.admitted, strict=True):
        if project >= done.scenario.crowds:
            waits[project].append(admitted - created)
    return Report(
        hours=seconds / 3600,
        jobs_per_second=jobs / seconds,
        lag_p50_seconds=_quantile(lags, 0.5),
        lag_p99_seconds=_quantile(lags, 0.99),
        polls_per_job=done.done["poll"] / jobs,
        upstream_per_second=(done.done["poll"] + done.done["send"]) / seconds,
        fairness=jain(done.admitted_in_crowd),
        turn_seconds=done.scenario.projects * seconds / jobs,
        worst_wait_seconds=max((_quantile(sorted(waited), 0.99) for waited in waits.values()), default=0.0),
        statements_per_second=total.statements / seconds,
        looks_per_second=(done.done["look"] + done.done["claim polls"] + done.done["claim saves"]) / seconds,
        gate_busy=done.gate_held / seconds,
        learning_busy=done.learning_held / seconds,
        telling_busy=done.telling_held / seconds,
        database_cores=total.server_ms / 1000 / seconds,
        worker_cores=total.own_ms / 1000 / seconds,
    )


def jain(shares: Sequence[float]) -> float:
    """Return Jain's index of fairness: 1 if all got the same, 1/n if one got everything."""
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))


def _quantile(ordered: Sequence[float], at: float) -> float:
    return ordered[min(len(ordered) - 1, math.floor(at * len(ordered)))]


def main() -> None:
    """Run the scenario that the arguments describe and print what it shows."""
    given = _parser().parse_args()
    asked = {field.name: getattr(given, field.name) for field in fields(Scenario) if field.name != "costs"}
    costs = spent.turned(spent.read(given.costs), given.turn)
    simulation = Simulation(Scenario(**asked, costs=costs))
    began = time.perf_counter()
    simulation.run()
    for line in _lines(report(simulation), simulation.scenario):
        print(line)
    print(f"simulated in {time.perf_counter() - began:.0f} s", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.simulate", description=__doc__)
    usual = Scenario()
    for field in fields(Scenario):
        if field.name != "costs":
            value = getattr(usual, field.name)
            parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--costs", type=Path, default=spent.SEEN, help="the JSON of `make bench BENCH=costs`")
    of_all = ", ".join(spent.read())
    parser.add_argument(
        "--turn",
        action="append",
        default=[],
        metavar="NAME=FACTOR",
        help=f"let it cost so many times as much: {of_all}",
    )
    return parser


def _lines(found: Report, scenario: Scenario) -> Iterator[str]:
    yield f"{scenario.jobs:,} jobs, {scenario.workers} workers, {scenario.places:,} places, seed {scenario.seed}"
    for name, text in (
        ("virtual time", f"{found.hours:.1f} h"),
        ("jobs", f"{found.jobs_per_second:.1f}/s"),
        ("end noticed, p50", f"{found.lag_p50_seconds:.2f} s"),
        ("end noticed, p99", f"{found.lag_p99_seconds:.2f} s"),
        ("polls", f"{found.polls_per_job:.1f} a job"),
        ("upstream requests", f"{found.upstream_per_second:,.0f}/s"),
        ("fairness between crowds", f"{found.fairness:.4f} (Jain's index)"),
        ("worst wait of others, p99", f"{found.worst_wait_seconds:.1f} s (one turn: {found.turn_seconds:.1f} s)"),
        ("database statements", f"{found.statements_per_second:,.0f}/s"),
        ("claims and looks", f"{found.looks_per_second:,.0f}/s"),
        ("gate held", f"{found.gate_busy:.0%}"),
        ("durations row held", f"{found.learning_busy:.0%}"),
        ("commits with NOTIFY", f"{found.telling_busy:.0%} of the time"),
        ("processor, database", f"{found.database_cores:.2f} cores"),
        ("processor, workers", f"{found.worker_cores:.2f} cores, {found.worker_cores / scenario.workers:.3f} each"),
    ):
        yield f"  {name:<26} {text}"


if __name__ == "__main__":
    main()
