"""A job changes in another process: for how long the service still shows it as it was, driven as hard as it can be.

The change is committed here, as another replica would on Postgres and as a short command would beside SQLite. Few
connections drive: with many, what is measured would be how long a request waits for its turn.
"""

import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from statistics import median

import httpx2

from app.db import jobs
from app.db.engine import Connection, Database
from bench import databases, load, read, servers
from bench.figures import Figure, Goal
from bench.plan import Plan

JOBS = 1_000
CONNECTIONS = 8
GOAL = Goal(of="median", at="most", limit=100)
PAUSE_SECONDS = 0.01
SLOWEST_SECONDS = 10.0


def measure(plan: Plan) -> list[Figure]:
    """Change one job again and again, and ask for it until the change is shown."""
    with databases.one_of_each(plan.kinds) as made, ExitStack() as running:
        found = []
        for kind, (url, folder) in made.items():
            key, ids = read.fill(url, count=JOBS)
            base = running.enter_context(servers.reelay(folder, database_url=url))
            database = Database(url)
            running.callback(database.close)
            client = httpx2.Client(base_url=base, headers={"Authorization": f"Bearer {key}"}, timeout=30)
            running.callback(client.close)
            requests = load.write(folder / "requests", (load.get(f"/v1/jobs/{id_}", key=key) for id_ in ids[1:]))
            driven = partial(load.drive, base, requests, plan=replace(plan, connections=CONNECTIONS))
            driven()
            rounds = [_round(driven, database, client, job_id=ids[0]) for _ in range(plan.rounds)]
            found.append(_figure(kind, rounds))
    return found


def _figure(kind: str, rounds: list[list[float]]) -> Figure:
    return Figure(
        name=f"a commit of another process is shown: p99, {kind}",
        unit="ms",
        samples=[1000 * sorted(lags)[int(0.99 * len(lags))] for lags in rounds],
        goal=GOAL,
        note=f"p50 {1000 * median(median(lags) for lags in rounds):.3g} ms, {sum(map(len, rounds))} commits",
    )


def _round(driven: "partial[load.Load]", database: Database, client: httpx2.Client, *, job_id: str) -> list[float]:
    """Measure for as long as the load lasts."""
    driving = threading.Thread(target=driven)
    driving.start()
    lags: list[float] = []
    while driving.is_alive() or not lags:
        for _ in range(2):  # from the second time on it is remembered
            client.get(f"/v1/jobs/{job_id}").raise_for_status()
        word = str(time.monotonic_ns())
        with database.transaction() as conn:
            _say(conn, job_id, word)
        lags.append(_until_shown(client, job_id, word, committed_at=time.monotonic()))
        time.sleep(PAUSE_SECONDS)
    driving.join()
    return lags


def _say(conn: Connection, job_id: str, word: str) -> None:
    job = jobs.lock(conn, job_id)
    now = datetime.now(UTC)
    jobs.note(conn, job, type="job.charge_corrected", now=now, data={}, metadata={"word": word})


def _until_shown(client: httpx2.Client, job_id: str, word: str, *, committed_at: float) -> float:
    """Return how long after the commit a request was sent that shows it, the ones before having shown what was."""
    while True:
        sent_at = time.monotonic()
        if client.get(f"/v1/jobs/{job_id}").raise_for_status().json()["metadata"].get("word") == word:
            return sent_at - committed_at
        if sent_at - committed_at > SLOWEST_SECONDS:
            raise RuntimeError(f"a change of {job_id} is not shown")
