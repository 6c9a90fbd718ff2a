"""Takeover: how long after kill -9 of a worker another one moves its jobs on. Here nothing is hurried but the lease."""

import signal
import time
from pathlib import Path

import sqlalchemy as sa

from app.db import tables
from tests.postgres import Databases
from torture.caller import Caller
from torture.house import LEASE_SECONDS, House, Victim, sandbox
from torture.judge import judge
from torture.points import Fault, Plan
from torture.table import Part, percentile

POINTS = (
    "commit Submitter._admit after",
    "storage put_bytes after",
    "commit Submitter._send before",
    "commit Submitter._send after",
    "upstream submit before",
    "upstream submit after",
    "commit Submitter._keep after",
    "commit Saver.run_once after",
    "download after",
    "commit Saver._copy before",
)
JOBS_A_KILL = 3
SLACK_SECONDS = 5.0
MOST_SECONDS = 30.0
EVENTS = tables.events


def run(folder: Path, *, seed: int, seconds: float, server: Databases) -> Part:
    """Kill a worker that has jobs in hand, at each point in turn, and time the others."""
    part = Part("takeover")
    with sandbox(folder, seed=seed) as url:
        house = House("takeover", folder, upstream_url=url, database_url=server.create_database())
        try:
            api = house.victim("api", workers=False).start(hurried=False)
            survivors = [house.victim(f"survivor{n}", api=False).start(hurried=False) for n in (1, 2)]
            caller, doomed = Caller(house, api), house.victim("doomed", api=False)
            taken: list[float] = []
            deadline = time.monotonic() + seconds
            for point in POINTS:
                if time.monotonic() < deadline:
                    taken += _kill_at(point, doomed, survivors, caller, part=part)
            _let_end(caller, caller.accepted, "succeeded")
            states = caller.states(caller.accepted)
            part.require(set(states.values()) == {"succeeded"}, f"not all succeeded: {states}")
            judge(part, house, url, accepted=caller.accepted)
        finally:
            house.close()
    _report(part, taken)
    return part


def _kill_at(point: str, doomed: Victim, survivors: list[Victim], caller: Caller, *, part: Part) -> list[float]:
    """Let the doomed worker die there with jobs in hand; return the seconds until each of them was moved on."""
    caller.halt(*survivors)  # alive, but not those who take the jobs
    ids = {caller.create(f"{point} {n}", on_unconfirmed="resubmit") for n in range(JOBS_A_KILL)}
    doomed.start(Plan([Fault(point, "kill")]), wait=False, hurried=False)
    doomed.wait_end(seconds=MOST_SECONDS)
    struck = next((note for note in doomed.trace() if note.get("kind") == "kill"), None)
    for survivor in survivors:
        survivor.signal(signal.SIGCONT)
    part.require(struck is not None, f"the worker did not reach {point}")
    if struck is None:
        doomed.kill()
        return []
    part.counts["kills"] += 1
    part.counts["faults"] += 1
    taken = [moved - struck["at"] for moved in _moved_on(caller, ids, since=struck["at"], part=part)]
    _let_end(caller, ids, "succeeded", "unconfirmed")
    return taken


def _moved_on(caller: Caller, ids: set[str], *, since: float, part: Part) -> list[float]:
    """Return when each of the jobs that the dead worker had in hand was moved again."""
    query = sa.select(EVENTS).where(EVENTS.c.job_id.in_(ids)).order_by(EVENTS.c.n)
    held = {e.job_id: e.state for e in caller.rows(query) if e.created_at.timestamp() <= since}
    leased = {job_id for job_id, state in held.items() if state in ("submitting", "saving")}
    deadline, moved = time.monotonic() + MOST_SECONDS, dict[str, float]()
    while set(moved) < leased and time.monotonic() < deadline:
        time.sleep(0.1)
        for event in caller.rows(query):
            if event.job_id in leased and event.created_at.timestamp() > since:
                moved.setdefault(event.job_id, event.created_at.timestamp())
    part.require(set(moved) == leased, f"nobody took over {sorted(leased - set(moved))}")
    return list(moved.values())


def _let_end(caller: Caller, ids: set[str], *states: str) -> None:
    """Wait for the jobs, as an operator who ends each hold at once."""
    deadline = time.monotonic() + MOST_SECONDS
    while not caller.wait(ids, *states, seconds=0.5) and time.monotonic() < deadline:
        caller.resume()


def _report(part: Part, taken: list[float]) -> None:
    if not taken:
        part.broken.append("no takeover was seen")
        return
    median, p99 = percentile(taken, 0.5), percentile(taken, 0.99)
    part.figures.append(
        f"{len(taken)} jobs taken over with a lease of {LEASE_SECONDS:g} s: median {median:.1f} s, p99 {p99:.1f} s"
    )
    part.require(p99 <= LEASE_SECONDS + SLACK_SECONDS, f"a takeover took {p99:.1f} s")
