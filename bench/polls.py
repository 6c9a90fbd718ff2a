"""Polls a second on one core: ours, understood, beside stock httpx, at 10 and at 1,000 questions at a time."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import servers
from bench.figures import Figure, Goal
from bench.plan import Plan

FEW, MANY = 10, 1_000
FASTER = Goal(of="ratio", at="least", limit=5)
NO_SLOWER = Goal(of="ratio", at="least", limit=1)


def measure(plan: Plan) -> list[Figure]:
    """Let both ask in turn, few and many at a time."""
    rates: dict[tuple[str, int], list[float]] = {(name, many): [] for many in (FEW, MANY) for name in ("httpx", "ours")}
    with TemporaryDirectory(prefix="reelay-bench-") as folder, servers.upstream(Path(folder)) as address:
        for number in range(plan.rounds):
            for name, concurrent in rates if number % 2 == 0 else reversed(rates):
                rates[name, concurrent].append(_rate(name, address, concurrent=concurrent, seconds=plan.seconds))
    stock, ours = rates["httpx", FEW], rates["ours", FEW]
    return [
        Figure(name=f"polls on one core, {FEW} at a time, httpx", unit="/s", samples=stock),
        Figure(name=f"polls on one core, {FEW} at a time", unit="/s", samples=ours, beside=stock, goal=FASTER),
        Figure(name=f"polls on one core, {MANY:,} at a time, httpx", unit="/s", samples=rates["httpx", MANY]),
        Figure(
            name=f"polls on one core, {MANY:,} at a time",
            unit="/s",
            samples=rates["ours", MANY],
            beside=ours,
            goal=NO_SLOWER,
            note=f"beside {FEW} at a time",
        ),
    ]


def _rate(name: str, address: str, *, concurrent: int, seconds: float) -> float:
    command = [sys.executable, "-m", "bench.askers", name, address, str(concurrent), str(seconds)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
