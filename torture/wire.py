"""The wire between Reelay and the upstream: slow, cut, reset, silent; and its answer cut after every single byte."""

import threading
import time
from functools import partial
from pathlib import Path

from tests.postgres import Databases
from torture.caller import Caller
from torture.house import House, sandbox
from torture.judge import judge
from torture.lanes import run_side_by_side
from torture.proxy import HARMS, Proxy, proxied
from torture.quiet import moving
from torture.table import Part

MOST_BYTES = {"truncate": 500, "truncate-body": 130}
"""More than an answer to a POST has, with its head, or without it and without the id that is repeated in the head."""
TIMES_EACH = 6
CREATORS = 4
REST_SECONDS = 90.0
AUDIT_SECONDS = 4.0
SECONDS_FOR_EVERY_BYTE = 40.0
"""With less time, only every so many bytes."""


def run(folder: Path, *, seed: int, seconds: float, server: Databases) -> Part:
    """Harm every POST once, with ids that are text and ids that are numbers."""
    lane = partial(_run, folder=folder, seed=seed, stride=max(1, round(SECONDS_FOR_EVERY_BYTE / max(seconds, 1))))
    kinds = {"text": "uuid-model", "number": "number"}
    return run_side_by_side("wire", {name: partial(lane, name=name, form=form) for name, form in kinds.items()})


def _run(part: Part, *, name: str, form: str, folder: Path, seed: int, stride: int) -> None:
    with sandbox(folder / name, seed=seed, id_form=form) as url, proxied(url) as (proxy, address):
        house = House(f"wire-{name}", folder, upstream_url=address, upstream_max_in_flight="200")
        try:
            orders = [f"[wire {what} {n}]" for what in HARMS for n in range(TIMES_EACH)]
            orders += [f"[wire {what} {n}]" for what, most in MOST_BYTES.items() for n in range(0, most, stride)]
            _harm_all(part, house, proxy, url, orders)
        finally:
            house.close()
    part.figures.append(f"{name} ids: " + ", ".join(f"{times} {what}" for what, times in proxy.struck.items()))
    if stride == 1:
        cut = [proxy.longest_cut_everywhere(what) for what in MOST_BYTES]
        part.require(all(cut), f"[{name}] not every byte was cut at: {cut}")
        part.figures.append(f"{name} ids: cut after each of {cut[0]} bytes of the answer, and of {cut[1]} of its body")


def _harm_all(part: Part, house: House, proxy: Proxy, url: str, orders: list[str]) -> None:
    caller = Caller(house, house.victim(probes_once=True).start())
    ended = threading.Event()
    operator = threading.Thread(target=_end_holds, args=(caller, ended), daemon=True)
    operator.start()
    bought: set[str] = set()
    creators = [threading.Thread(target=_create, args=(caller, orders[n::CREATORS], bought)) for n in range(CREATORS)]
    for creator in creators:
        creator.start()
    for creator in creators:
        creator.join()
    deadline = time.monotonic() + REST_SECONDS
    while moving(house) and time.monotonic() < deadline:
        time.sleep(0.5)
    ended.set()
    operator.join()
    states = caller.states(caller.accepted)
    left = {id_: states[id_] for id_ in bought if states[id_] != "succeeded"}
    part.require(not left, f"[{house.name}] {len(left)} bought videos did not come: {dict(list(left.items())[:5])}")
    unconfirmed = sum(state == "unconfirmed" for state in states.values())
    part.counts["faults"] += proxy.struck.total()
    part.require(len(caller.accepted) == len(orders), f"[{house.name}] {len(caller.accepted)} of {len(orders)} jobs")
    part.figures.append(f"{house.name}: {len(states)} jobs, {unconfirmed} left visibly unconfirmed, as they had asked")
    part.require(proxy.struck.total() == len(orders), f"{proxy.struck.total()} of {len(orders)} POSTs were harmed")
    time.sleep(AUDIT_SECONDS)  # an audit reads the log once more
    judge(part, house, url, accepted=caller.accepted)


REACHES_THE_UPSTREAM = ("latency", "drip", "reset-after", "blackhole-after", *MOST_BYTES)


def _create(caller: Caller, orders: list[str], bought: set[str]) -> None:
    # Half of them ask to be bought again once the log has shown no trace of them; the others wait for a person.
    for number, order in enumerate(orders):
        patience = "resubmit" if number % 2 else "hold"
        id_ = caller.create(order, on_unconfirmed=patience)
        if patience == "resubmit" or order.split()[1] in REACHES_THE_UPSTREAM:
            bought.add(id_)


def _end_holds(caller: Caller, ended: threading.Event) -> None:
    while not ended.wait(0.2):
        caller.resume()
