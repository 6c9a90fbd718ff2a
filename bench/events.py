"""Live events: from the commit to each of 1,000 listeners of a project, beside a bare SSE server."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

import httpx2

from app.db import jobs
from app.db.engine import Database
from app.domain.ids import new_id
from app.domain.job import Job
from bench import databases, servers
from bench.figures import Figure, Goal
from bench.load import FLOOR
from bench.plan import Plan

PAUSE_SECONDS = 0.1
PAYLOAD = b"{%b}" % (b"." * 220)
"""As long as what Reelay tells of a new job."""
GOAL = Goal(of="median", at="most", limit=10)


@dataclass(frozen=True, slots=True)
class Side:
    """Who is listened to: `tell` causes one event and returns the time since when it could be heard."""

    address: str
    key: str
    tell: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Lags:
    """What one round gave, in milliseconds."""

    p50_ms: float
    p99_ms: float
    missing: int


def measure(plan: Plan) -> list[Figure]:
    """Listen to the bare server and to Reelay on each database in turn; both tell as many events, one at a time."""
    with databases.one_of_each(plan.kinds) as made, ExitStack() as running:
        sides: dict[str, Side] = {}
        for kind, (url, folder) in made.items():
            base = running.enter_context(servers.reelay(folder, database_url=url))
            database = Database(url)
            running.callback(database.close)
            with database.transaction() as conn:
                caller = databases.new_caller(conn, "bench", now=datetime.now(UTC))
            post = _post(running.enter_context(_client(base, key=caller[2])))
            post()  # takes the only place for hours: a job that is told of later stays queued, and is one event
            tell = _commit(database, caller) if kind == "Postgres" else post
            sides[kind] = Side(f"{base}/v1/events", caller[2], tell)
        floor = running.enter_context(servers.floor(folder, payload=PAYLOAD))
        sides = {FLOOR: Side(f"{floor}/v1/events", "", _post_floor(running.enter_context(_client(floor))))} | sides
        found: dict[str, list[Lags]] = {name: [] for name in sides}
        for number in range(plan.rounds):
            for name in sides if number % 2 == 0 else reversed(sides):
                found[name].append(_round(sides[name], plan=plan))
    return [figure for name, lags in found.items() for figure in _figures(name, lags, found[FLOOR], plan=plan)]


def _figures(name: str, lags: list[Lags], floor: list[Lags], *, plan: Plan) -> Iterator[Figure]:
    since = "commit" if name == "Postgres" else "POST"
    missing = sum(round_.missing for round_ in lags)
    yield Figure(
        name=f"{since} to {plan.listeners:,} listeners: p99, {name}",
        unit="ms",
        samples=[round_.p99_ms for round_ in lags],
        beside=() if name == FLOOR else [round_.p99_ms for round_ in floor],
        goal=None if name == FLOOR else GOAL,
        note=f"p50 {median(round_.p50_ms for round_ in lags):.3g} ms" + (f", {missing} ERRORS" if missing else ""),
    )


def _round(side: Side, *, plan: Plan) -> Lags:
    with _listening(side, count=plan.listeners) as listeners:
        assert listeners.stdin is not None and listeners.stdout is not None
        told_at = []
        for _ in range(max(int(plan.seconds / PAUSE_SECONDS), 2)):
            time.sleep(PAUSE_SECONDS)
            told_at.append(side.tell())
        listeners.stdin.write(json.dumps(told_at) + "\n")
        listeners.stdin.flush()
        told = json.loads(listeners.stdout.readline())
    lags = told["lags"]
    if not lags:
        raise RuntimeError(f"{side.address} told nothing")
    return Lags(
        p50_ms=1000 * median(lags), p99_ms=1000 * lags[int(0.99 * len(lags))], missing=told["missing"] + told["twice"]
    )


@contextmanager
def _listening(side: Side, *, count: int) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.listeners", side.address, str(count)],
        env=os.environ | {"BENCH_KEY": side.key},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"the listeners could not connect to {side.address}")
        yield process
    finally:
        process.kill()
        process.communicate()


def _commit(database: Database, caller: tuple[str, str, str]) -> Callable[[], float]:
    """Commit a job here, as another replica would, and return when that was done."""
    project_id, key_id, _ = caller

    def tell() -> float:
        now = datetime.now(UTC)
        job = Job(
            id=new_id("job"),
            project_id=project_id,
            key_id=key_id,
            model="veo2/image-to-video",
            input={"prompt": "The sailboat drifts on."},
            metadata={},
            upstream_path="/v2/video/generations",
            due_at=now,
            created_at=now,
        )
        asyncio.run(database.write(lambda conn: jobs.insert(conn, job)))
        return time.monotonic()

    return tell


def _client(base: str, *, key: str = "") -> httpx2.Client:
    return httpx2.Client(base_url=base, headers={"Authorization": f"Bearer {key}"} if key else {}, timeout=30)


def _post(client: httpx2.Client) -> Callable[[], float]:
    """Create a job over HTTP and return when that began: within one process nobody sees the commit itself."""

    def tell() -> float:
        began = time.monotonic()
        order = {"model": "veo2", "input": {"prompt": f"The sailboat drifts on, at {began}."}}
        answer = client.post("/v1/jobs", json=order)
        assert answer.status_code == 201, answer.text
        return began

    return tell


def _post_floor(client: httpx2.Client) -> Callable[[], float]:

    def tell() -> float:
        began = time.monotonic()
        client.post("/events").raise_for_status()
        return began

    return tell
