"""From the start of the process to the first answer, and the memory of a service that has nothing to do."""

import compileall
import http.client
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import cores, memory, servers
from bench.figures import Figure, Goal
from bench.plan import Plan
from tests.acceptance.processes import Process
from tests.tcp import free_port

START = Goal(of="median", at="most", limit=1.5)
MEMORY = Goal(of="median", at="most", limit=110)
PATIENCE_SECONDS = 60
CODE = ("app", "bench", "migrations")


def measure(plan: Plan) -> list[Figure]:
    """Start the floor, Reelay in an empty folder, and Reelay once more in the same folder, in turn."""
    for name in CODE:  # as an installation leaves it; otherwise each start may compile it anew
        compileall.compile_dir(Path(__file__).parents[1] / name, quiet=1)
    starts, spent, weights = defaultdict(list), defaultdict(list), defaultdict(list)
    for _ in range(plan.rounds):
        with TemporaryDirectory(prefix="reelay-bench-") as name:
            folder, port = Path(name), free_port()
            floor = servers.floor_process(folder, port=port, payload=b"{}")
            with _started(floor, port) as seconds:
                starts["floor"].append(seconds)
            for run in ("first", "again"):
                process = servers.reelay_process(folder, port=port)
                with _started(process, port) as seconds:
                    starts[run].append(seconds)
                    if not memory.can_be_weighed():
                        continue
                    spent[run].append(cores.used_seconds(process.pid))
                    if run == "again":
                        time.sleep(plan.seconds)  # for whatever the start leaves to do
                        weights["own"].append(memory.of(process.pid))
                        weights["children"].append(memory.of_children(process.pid))
    return [*_starts(starts), *_spent(spent), *_weights(weights)]


@contextmanager
def _started(process: Process, port: int) -> Iterator[float]:
    """Start the process, yield the seconds until it answered, and end it."""
    began = time.monotonic()
    process.start(wait=False)
    try:
        while not _answers(port):
            if process.has_ended or time.monotonic() - began > PATIENCE_SECONDS:
                raise RuntimeError(f"{process.command} did not answer:\n{process.said()[-3000:]}")
            time.sleep(0.005)
        yield time.monotonic() - began
    finally:
        process.close()


def _answers(port: int) -> bool:
    """Ask for /healthz. A service that listens and is not ready yet lets us wait, and we lose no time by it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _starts(seconds: dict[str, list[float]]) -> list[Figure]:
    floor = seconds["floor"]
    return [
        Figure(name="start, floor", unit="s", samples=floor),
        Figure(name="start, new folder", unit="s", samples=seconds["first"], beside=floor, goal=START),
        Figure(name="start, again", unit="s", samples=seconds["again"], beside=floor, goal=START),
    ]


def _spent(seconds: dict[str, list[float]]) -> list[Figure]:
    named = (("processor time, new folder", "first"), ("processor time, again", "again"))
    return [
        Figure(name=name, unit="s", samples=seconds[run], note="without its sandbox's")
        for name, run in named
        if run in seconds
    ]


def _weights(weights: dict[str, list[memory.Weight]]) -> list[Figure]:
    if not weights:
        return []
    named = (("idle memory, service", "own", MEMORY), ("idle memory, its sandbox", "children", None))
    return [
        Figure(
            name=name,
            unit="MiB",
            samples=[weight.rss for weight in weights[whose]],
            goal=goal,
            note=f"RSS; PSS {weights[whose][-1].pss:.0f} MiB",
        )
        for name, whose, goal in named
    ]
