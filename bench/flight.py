"""Many generations watched by one worker on one core: how soon it notices their ends, how often it asks for that."""

import math
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import httpx2
import sqlalchemy as sa

from app.db import durations, ledger
from app.db.engine import Connection, Database
from app.db.tables import jobs
from app.domain.ids import new_id
from app.domain.job import Job
from app.domain.pacing import Durations, seconds_to_next_poll
from app.domain.states import JobState
from bench import cores, databases, memory, servers, upstream
from bench.figures import Figure, Goal
from bench.plan import Plan

SPREAD = math.log(50 / 45) / 1.2816
"""Of a lognormal whose median is 45 seconds, and which has nine of ten below 50."""
STARTED_BEFORE, STARTED_AFTER = 33 / 45, 7 / 45
"""In medians: the generations begin evenly within this time before the worker does and after. None ends before it."""
LONGEST_RUN_SECONDS = 80.0
SEEN_BEFORE = 500
ENOUGH_TO_LEARN = 100
MICROS = 2_500_000
MODEL, INPUT = "veo2/image-to-video", {"prompt": "The sailboat drifts on.", "duration": 5}
P50 = Goal(of="median", at="most", limit=1)
P99 = Goal(of="median", at="most", limit=5)
POLLS = Goal(of="median", at="most", limit=6)
GROWTH = Goal(of="median", at="most", limit=5)
NOTE = "SQLite; nothing is saved"


def measure(plan: Plan) -> list[Figure]:
    """Watch with what 500 generations before have told; and first, if there are enough to learn from, without."""
    cold = _watched("cold", plan=plan, seen=0) if plan.flights >= ENOUGH_TO_LEARN else ()
    return [*cold, *_watched("learned", plan=plan, seen=SEEN_BEFORE)]


def _watched(name: str, *, plan: Plan, seen: int) -> Iterator[Figure]:
    with TemporaryDirectory(prefix="reelay-bench-") as folder, servers.upstream(Path(folder)) as address:
        url = f"sqlite:///{folder}/reelay.db"
        databases.migrate(url)
        with closing(Database(url)) as db, _worker(Path(folder), url, address) as pid:
            weights = [memory.of(pid).rss] if memory.can_be_weighed() else []
            with db.transaction() as conn:
                _learn(conn, seen, plan=plan)
                _begin(conn, plan, learned=durations.read_all(conn).of(MODEL, INPUT))
            until = time.monotonic() + LONGEST_RUN_SECONDS
            while time.monotonic() < until and _count_unsettled(db):
                time.sleep(0.5)
                if weights:
                    weights.append(memory.of(pid).rss)
            lags = _lags(db)
            used = cores.used_seconds(pid) if weights else 0.0
        asked = int(httpx2.get(address + upstream.ASKED).text)
    missing = plan.flights - len(lags)
    note = NOTE + (f"; {missing} ERRORS: never noticed" if missing else "")
    what = f"{plan.flights:,} generations, {name}"
    yield Figure(name=f"{what}: end noticed, p50", unit="s", samples=[median(lags)], goal=P50, note=note)
    yield Figure(name=f"{what}: end noticed, p99", unit="s", samples=[lags[int(0.99 * len(lags))]], goal=P99)
    polls = [asked / plan.flights]
    yield Figure(name=f"{what}: polls each", unit="", samples=polls, goal=POLLS if seen else None)
    if weights:
        each = 1000 * used / plan.flights
        yield Figure(name=f"{what}: processor time each", unit="ms", samples=[each], note="4 ms are all of the core")
        growth = max(max(weights) - weights[0], 0.01)
        yield Figure(name=f"{what}: memory added", unit="MiB", samples=[growth], goal=GROWTH, note="RSS, the highest")


@contextmanager
def _worker(folder: Path, database_url: str, address: str) -> Iterator[int]:
    """Run the worker, its log in a file, and yield its process id once it has come to rest."""
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.watcher", database_url, address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the worker did not start")
        time.sleep(1)
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def _learn(conn: Connection, count: int, *, plan: Plan) -> None:
    """Let so many generations have ended before, each seen at the first poll after its end."""
    chance = random.Random(1)
    for _ in range(count):
        learned, noticed_at = durations.read_all(conn).of(MODEL, INPUT), 0.0
        end = chance.lognormvariate(math.log(plan.lasting), SPREAD)
        while noticed_at < end:
            noticed_at += seconds_to_next_poll(noticed_at, learned)
        durations.observe(conn, MODEL, INPUT, noticed_at)


def _begin(conn: Connection, plan: Plan, *, learned: Durations) -> None:
    """Write the rows of generations as the submitter leaves them, with what is reserved for them."""
    chance, now = random.Random(2), datetime.now(UTC)
    project_id, key_id, _ = databases.new_caller(conn, "bench", now=now)
    rows = []
    for number in range(plan.flights):
        started_at = now + plan.lasting * timedelta(seconds=chance.uniform(-STARTED_BEFORE, STARTED_AFTER))
        lasts = chance.lognormvariate(math.log(plan.lasting), SPREAD)
        job = Job(
            id=new_id("job"),
            project_id=project_id,
            key_id=key_id,
            model=MODEL,
            input=INPUT,
            state=JobState.GENERATING,
            version=3,
            attempts=1,
            event_count=3,
            upstream_path=upstream.PATH,
            generation_id=upstream.generation_id(number, ends_at=started_at.timestamp() + lasts),
            created_at=started_at,
            started_at=started_at,
            due_at=_due_at(started_at, learned, now=now),
            expected_seconds=plan.lasting,
            estimated_micros=MICROS,
            estimate_basis="listed",
            reserved_micros=MICROS,
        )
        rows.append({column.name: getattr(job, column.name) for column in jobs.c if hasattr(job, column.name)})
    conn.execute(jobs.insert(), rows)
    ledger.reserve(conn, replace(job, reserved_micros=MICROS * plan.flights))


def _due_at(started_at: datetime, learned: Durations, *, now: datetime) -> datetime:
    """Return when a worker that has watched since the start would ask next."""
    waited = 0.0
    if started_at >= now:
        return started_at
    while waited < (now - started_at).total_seconds():
        waited += seconds_to_next_poll(waited, learned)
    return started_at + timedelta(seconds=waited)


def _count_unsettled(db: Database) -> int:
    with db.engine.connect() as conn:
        count: int = conn.scalar(sa.select(sa.func.count()).where(jobs.c.state == JobState.GENERATING)) or 0
        return count


def _lags(db: Database) -> list[float]:
    """Return how long after its end each generation was noticed, in order."""
    noticed = sa.select(jobs.c.generation_id, jobs.c.due_at).where(jobs.c.state == JobState.SAVING)
    with db.engine.connect() as conn:
        return sorted(at.timestamp() - upstream.ends_at(generation) for generation, at in conn.execute(noticed))
