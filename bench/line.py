"""The access line: written lean, beside the same line through all processors. No server: one process and a file."""

import time
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog

from app import telemetry
from bench.figures import Figure, Goal
from bench.plan import Plan

LINES = 5_000
GOAL = Goal(of="ratio", at="most", limit=0.6)
SAID = {
    "request_id": f"req_{'0123456789abcdef' * 2}",
    "method": "GET",
    "path": f"/v1/jobs/job_{'0190f7f0b4b97c41' * 2}",
}
FACTS: dict[str, Any] = {"status": 200, "duration_ms": 1.2}
LITERALS = ["an-upstream-key-0123456789", "a-signing-secret-0123456789"]


def measure(plan: Plan) -> list[Figure]:
    """Write lines in both ways, in turn; the time is the processor's."""
    with TemporaryDirectory() as folder, Path(folder, "log").open("w") as log, redirect_stderr(log):
        telemetry.configure(style="json", literals=LITERALS)
        lean, slow = telemetry.lean_lines(), structlog.get_logger()
        assert lean is not None
        found = [
            (
                _micros(lambda: lean.write("request_served", said=SAID, facts=FACTS)),
                _micros(lambda: slow.info("request_served", **SAID, **FACTS)),
            )
            for _ in range(plan.rounds)
        ]
    structlog.reset_defaults()
    ours, theirs = [micros for micros, _ in found], [micros for _, micros in found]
    return [
        Figure(name="access line, through all processors", unit="us", samples=theirs),
        Figure(name="access line, lean", unit="us", samples=ours, beside=theirs, goal=GOAL),
    ]


def _micros(write: Callable[[], None]) -> float:
    began = time.process_time()
    for _ in range(LINES):
        write()
    return (time.process_time() - began) / LINES * 1e6
