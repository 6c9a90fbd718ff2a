"""Graceful stop: SIGTERM ends a worker soon, whoever keeps it waiting, and what it had in hand waits out no lease."""

import time
from pathlib import Path

import httpx2
import sqlalchemy as sa

from app.db import tables
from tests.postgres import Databases
from torture.caller import Caller
from torture.house import House, Victim, sandbox
from torture.judge import judge
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
    part = Part("stopping")
    began = time.monotonic()
    with sandbox(folder, seed=seed) as url:
        house = House("stopping", folder, upstream_url=url, lease_seconds="60")
        try:
            serve = house.victim("serve")
            for what, faults in HANGING.items():
                if time.monotonic() - began < seconds:
                    _stop_while(what, faults, serve, house, url, part=part)
            _stop_during_post(serve, house, part=part)
            caller = Caller(house, serve.start())
            part.require(caller.wait(set(caller.states()), "succeeded", seconds=30), f"unfinished: {caller.states()}")
            judge(part, house, url, accepted=set(caller.states()))
        finally:
            house.close()
    return part


def _stop_while(what: str, faults: tuple[str, ...], serve: Victim, house: House, url: str, *, part: Part) -> None:
    caller = Caller(house, serve.start())
    httpx2.put(f"{url}/_sandbox/faults", json=dict.fromkeys(faults, 1.0)).raise_for_status()
    for n in range(3):
        mishap = " [[fault:reset-after]]" if "logs-hang" in faults and n == 0 else ""
        caller.create(f"While {what} hang {n}{mishap}")
    time.sleep(WAIT_SECONDS)
    took = serve.stop()
    httpx2.put(f"{url}/_sandbox/faults", json={}).raise_for_status()
    part.counts["faults"] += len(faults)
    part.figures.append(f"SIGTERM while {what} hang{'s' if what == 'nothing' else ''}: {took:.1f} s")
    part.require(took <= IDLE_SECONDS, f"while {what} hang it took {took:.1f} s to stop")
    part.require(serve.exit_code == 0, f"while {what} hang it ended with {serve.exit_code}")
    _nothing_is_leased(part, caller, what)


def _stop_during_post(serve: Victim, house: House, *, part: Part) -> None:
    caller = Caller(house, serve.start())
    caller.resume()
    id_ = caller.create("In flight [[fault:hang-after=600]]")
    caller.wait({id_}, "submitting", seconds=5)
    serve.wait_for("posted")
    took = serve.stop()
    part.counts["faults"] += 1
    part.figures.append(f"SIGTERM with a POST in flight (it may take {SUBMIT_TIMEOUT_SECONDS:g} s): {took:.1f} s")
    part.require(took <= SUBMIT_TIMEOUT_SECONDS + IDLE_SECONDS, f"with a POST in flight it took {took:.1f} s to stop")
    part.require(caller.states({id_}) == {id_: "unconfirmed"}, f"its answer was not settled: {caller.states({id_})}")
    _nothing_is_leased(part, caller, "a POST")


def _nothing_is_leased(part: Part, caller: Caller, what: str) -> None:
    leased = caller.rows(sa.select(tables.jobs.c.id).where(tables.jobs.c.lease_token.is_not(None)))
    part.require(not leased, f"stopped while {what} hang, {[row.id for row in leased]} wait out a lease")
