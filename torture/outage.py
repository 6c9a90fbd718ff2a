"""Postgres is killed (SIGQUIT) and restarted under load, also exactly between a paid answer and its record."""

import random
import signal
import threading
import time
from pathlib import Path

import sqlalchemy as sa

from app.db import tables
from tests.postgres import Databases, PostgresServer
from torture.caller import Caller
from torture.house import House, Victim, sandbox
from torture.judge import judge, sold
from torture.points import Fault, Plan
from torture.quiet import come_to_rest
from torture.table import Part
from torture.traffic import Traffic

DOWN_SECONDS = 1.5
LONG_SECONDS = 20.0
"""Long enough that duties which fail again and again wait longer than work may rest afterwards."""
RESUMED_WITHIN_SECONDS = 10.0
UP_SECONDS = (0.5, 2.5)
MISHAPS = ("hang-after=1", "slow")
"""POSTs that take a while: some answers come while there is no database to keep them."""
EVENTS, SUBMISSIONS = tables.events, tables.submissions
SETTLE_POINTS = (
    "upstream submit after",
    "commit Submitter._keep before",
    "commit Submitter._keep inside",
    "commit Submitter._submit before",
    "commit Submitter._submit inside",
)


def run(folder: Path, *, seed: int, seconds: float, server: Databases) -> Part:
    """Kill a server of our own as often as there is time for; the others keep theirs."""
    part, resumed, chance = Part("outage"), list[float](), random.Random(seed)
    began = time.monotonic()
    with PostgresServer() as own, sandbox(folder, seed=seed) as url:
        house = House("outage", folder, upstream_url=url, database_url=own.create_database())
        try:
            serve = house.victim(probes_once=True, hurried_loops=False)
            accepted: set[str] = set()
            for point in SETTLE_POINTS:
                accepted |= _at_the_settle(point, serve, house, url, own, part=part)
            serve.start()
            traffic = Traffic(house, url, seed=seed, pause_seconds=0.02, lively=False, mishaps=MISHAPS)
            traffic.start()
            while not resumed or time.monotonic() - began < seconds:
                time.sleep(chance.uniform(*UP_SECONDS))
                down_seconds = DOWN_SECONDS if resumed or seconds < 2 * LONG_SECONDS else LONG_SECONDS
                resumed.append(_under_load(Caller(house, serve), own, down_seconds=down_seconds))
                part.counts["faults"] += 1
            come_to_rest(part, house, traffic)
            judge(part, house, url, accepted=accepted | traffic.accepted)
        finally:
            house.close()
    part.figures.append(
        f"killed {len(SETTLE_POINTS)} times around the settle of a POST and {len(resumed)} times under load, with"
        f" {len(traffic.accepted)} jobs accepted; work went on {max(resumed):.1f} s after its return at most,"
        f" and {resumed[0]:.1f} s after the first and longest time"
    )
    part.require(max(resumed) <= RESUMED_WITHIN_SECONDS, f"work went on only {max(resumed):.1f} s after the return")
    return part


def _under_load(caller: Caller, own: PostgresServer, *, down_seconds: float) -> float:
    """Kill the server; return how long after its return a worker first moved a job."""
    own.kill()
    time.sleep(down_seconds)
    own.start()
    returned_at = time.time()
    newest = sa.select(sa.func.max(EVENTS.c.created_at)).where(EVENTS.c.type != "job.created")
    while time.time() < returned_at + 60:
        [row] = caller.rows(newest)
        if row[0] is not None and row[0].timestamp() > returned_at:
            return float(row[0].timestamp() - returned_at)
        time.sleep(0.1)
    return 60.0


def _at_the_settle(point: str, serve: Victim, house: House, url: str, own: PostgresServer, *, part: Part) -> set[str]:
    """The answer is in the worker's hand when the database goes: it must be on its row once the database is back."""
    serve.start(Plan([Fault(point, "pause")]))
    caller = Caller(house, serve)
    # Its creation may still be under way when the worker stops at once: the API stops with it.
    caller.http.timeout = 2.0
    job_id = _create_and_stop(caller, serve, point)
    own.kill()
    serve.signal(signal.SIGCONT)
    time.sleep(DOWN_SECONDS)
    own.start()
    [bought] = sold(url, f"rly:{house.deployment_id}:{job_id}:")
    part.require(caller.wait({job_id}, "succeeded", seconds=20), f"at {point}: {caller.states({job_id})}")
    query = sa.select(SUBMISSIONS.c.state, SUBMISSIONS.c.generation_id).where(SUBMISSIONS.c.job_id == job_id)
    rows = [tuple(row) for row in caller.rows(query)]
    part.require(rows == [("accepted", bought["generation_id"])], f"at {point}: the paid answer became {rows}")
    part.counts["faults"] += 1
    serve.stop()
    return caller.accepted


def _create_and_stop(caller: Caller, serve: Victim, point: str) -> str:
    creating = threading.Thread(target=lambda: caller.create(point), daemon=True)
    creating.start()
    serve.wait_for("kind")
    query = sa.select(SUBMISSIONS.c.job_id).order_by(SUBMISSIONS.c.id.desc()).limit(1)
    return str(caller.rows(query)[0].job_id)
