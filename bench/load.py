"""The load: requests written to a file beforehand, sent again and again over many connections by wrk, or by Python."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from bench.figures import Figure, Goal
from bench.plan import Plan

WRK_SCRIPT = Path(__file__).with_name("requests.lua")
SEPARATOR = b"\0"
PATIENCE_SECONDS = 30
FLOOR = "floor"
BUSY = 0.9
"""Beyond this share of a core, the load itself may be what is measured."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one round gave. Only answers below 400 count for the rate."""

    good: int
    seconds: float
    errors: int
    p50_ms: float
    p99_ms: float
    loader_share: float
    """How much of a core the load itself took."""

    @property
    def rate(self) -> float:
        return self.good / self.seconds


def get(path: str, *, key: str) -> bytes:
    """Return a GET as it goes over the wire."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n\r\n".encode()


def post(path: str, body: Mapping[str, Any], *, key: str) -> bytes:
    """Return a POST of JSON as it goes over the wire."""
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def write(path: Path, requests: Iterable[bytes]) -> Path:
    """Write the requests to a file for `drive`, which sends them in this order."""
    path.write_bytes(SEPARATOR.join(requests))
    return path


def drive(base: str, requests: Path, *, plan: Plan) -> Load:
    """Send the requests in the file for the time and over the connections that the plan names."""
    if plan.loader == "wrk":
        command = ["wrk", "-t", "1", "-c", str(plan.connections), "-d", f"{plan.seconds:g}s", "--timeout", "10s"]
        command += ["-s", str(WRK_SCRIPT), base, "--", str(requests)]
    else:
        command = [sys.executable, "-m", "bench.python_load", base, str(requests)]
        command += [str(plan.connections), str(plan.seconds)]
    began, cpu = time.monotonic(), _children_cpu()
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=plan.seconds + PATIENCE_SECONDS)
    share = (_children_cpu() - cpu) / (time.monotonic() - began)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    told = json.loads(done.stdout.splitlines()[-1])
    if told["answers"] == told["bad_statuses"]:
        raise RuntimeError(f"{base} gave no good answer: {told}")
    return Load(
        good=told["answers"] - told["bad_statuses"],
        seconds=told["seconds"],
        errors=told["bad_statuses"] + told["broken"],
        p50_ms=told["p50_ms"],
        p99_ms=told["p99_ms"],
        loader_share=share,
    )


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def interleaved(plan: Plan, sides: Mapping[str, Callable[[], Load]]) -> dict[str, list[Load]]:
    """Run every side once to warm it up, then once a round, there and back, so that none has the better time."""
    order = list(sides)
    for name in order:
        sides[name]()
    found: dict[str, list[Load]] = {name: [] for name in order}
    for number in range(plan.rounds):
        for name in order if number % 2 == 0 else reversed(order):
            found[name].append(sides[name]())
    return found


def remark(loads: Iterable[Load]) -> str:
    """Return what makes these rounds doubtful; empty if nothing does."""
    loads = list(loads)
    remarks = []
    if errors := sum(load.errors for load in loads):
        remarks.append(f"{errors:,} ERRORS")
    if max(load.loader_share for load in loads) > BUSY:
        remarks.append("the load took a whole core")
    return ", ".join(remarks)


def figures(loads: Mapping[str, list[Load]], *, name: str, goal: Goal, slowest_ms: Goal | None = None) -> list[Figure]:
    """Return the rates of all sides, beside that of the side called `floor`, and what one request took."""
    beside = [load.rate for load in loads[FLOOR]]
    found = []
    for side, rounds in loads.items():
        rates, label = [load.rate for load in rounds], f"{name}, {side}"
        rate = Figure(name=label, unit="/s", samples=rates, note=remark(rounds))
        found.append(rate if side == FLOOR else replace(rate, beside=beside, goal=goal))
        p50 = f"p50 {median(load.p50_ms for load in rounds):.3g} ms"
        bound = None if side == FLOOR else slowest_ms
        slow = [load.p99_ms for load in rounds]
        found.append(Figure(name=f"{label}: p99", unit="ms", samples=slow, goal=bound, note=p50))
    return found
