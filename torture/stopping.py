"""Graceful stop: SIGTERM ends a worker soon, whoever keeps it waiting, and what it had in hand waits out no lease."""

import time
from functools import partial
from pathlib import Path

import httpx2
import sqlalchemy as sa

from app.db import tables
from tests.postgres import Databases
from torture.caller import Caller
from torture.house import House, Victim, sandbox
from torture.judge import judge
from torture.lanes import run_side_by_side
from torture.table import Part

IDLE_SECONDS = 5.0
SUBMIT_TIMEOUT_SECONDS = 2.0
HANGING = {
    "nothing": (),
    "polls": ("poll-hang",),
    "log reads": ("logs-hang",),
    "downloads": ("video-hang",),
    "all three": ("poll-hang", "logs-hang", "video-hang"),
}
WAIT_SECONDS = 1.2


def run(folder: Path, *, seed: int, seconds: float, server: Databases) -> Part:
    """Stop a worker in every kind of waiting. The lease is a minute: nothing here may need it to run out."""
    kinds = {"SQLite": None, "Postgres": server}
    lane = partial(_run, folder=folder, seed=seed, deadline=time.monotonic() + seconds)
    return run_side_by_side("stopping", {name: partial(lane, name=name, server=kinds[name]) for name in kinds})


def _run(part: Part, *, name: str, folder: Path, seed: int, deadline: float, server: Databases | None) -> None:
    database_url = server.create_database() if server else None
    with sandbox(folder / name, seed=seed) as url:
        house = House(f"stopping-{name}", folder, upstream_url=url, database_url=database_url, lease_seconds="60")
        try:
            serve, took = house.victim("serve"), dict[str, float]()
            for what, faults in HANGING.items():
                if time.monotonic() < deadline:
                    took[what] = _stop_while(what, faults, serve, house, url, part=part)
            took["a POST that is answered"] = _stop_during_post(serve, house, "hang-after=1", "generating", part=part)
            took["a POST that is not"] = _stop_during_post(serve, house, "hang-after=600", "unconfirmed", part=part)
            caller = Caller(house, serve.start())
            part.require(caller.wait(set(caller.states()), "succeeded", seconds=30), f"unfinished: {caller.states()}")
            judge(part, house, url, accepted=set(caller.states()))
        finally:
            house.close()
    times = ", ".join(f"{seconds:.1f} s on {what}" for what, seconds in took.items())
    part.figures.append(f"{name}: SIGTERM ended it, waiting on ..., in: {times}")


def _stop_while(what: str, faults: tuple[str, ...], serve: Victim, house: House, url: str, *, part: Part) -> float:
    caller = Caller(house, serve.start())
    httpx2.put(f"{url}/_sandbox/faults", json=dict.fromkeys(faults, 1.0)).raise_for_status()
    for n in range(3):
        mishap = " [[fault:reset-after]]" if "logs-hang" in faults and n == 0 else ""
        caller.create(f"While {what} hang {n}{mishap}")
    time.sleep(WAIT_SECONDS)
    took = serve.stop()
    httpx2.put(f"{url}/_sandbox/faults", json={}).raise_for_status()
    part.counts["faults"] += len(faults)
    part.require(took <= IDLE_SECONDS, f"[{house.name}] on {what}: {took:.1f} s to stop")
    part.require(serve.exit_code == 0, f"[{house.name}] on {what}: it ended with {serve.exit_code}")
    _nothing_is_leased(part, caller, what)
    return took


def _stop_during_post(serve: Victim, house: House, mishap: str, state: str, *, part: Part) -> float:
    """SIGTERM with a POST in flight: it is waited for, and what comes of it, or does not, is settled."""
    caller = Caller(house, serve.start())
    caller.resume()
    id_ = caller.create(f"In flight [[fault:{mishap}]]")
    serve.wait_for("posted")
    part.require(caller.states({id_}) == {id_: "submitting"}, f"[{house.name}] the POST was over before the stop")
    took = serve.stop()
    part.counts["faults"] += 1
    part.require(took <= SUBMIT_TIMEOUT_SECONDS + IDLE_SECONDS, f"[{house.name}] in a POST: {took:.1f} s to stop")
    part.require(caller.states({id_}) == {id_: state}, f"[{house.name}] {mishap} left {caller.states({id_})}")
    _nothing_is_leased(part, caller, "a POST")
    return took


def _nothing_is_leased(part: Part, caller: Caller, what: str) -> None:
    leased = caller.rows(sa.select(tables.jobs.c.id).where(tables.jobs.c.lease_token.is_not(None)))
    part.require(not leased, f"stopped on {what}, {[row.id for row in leased]} wait out a lease")
