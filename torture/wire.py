"""The wire between Reelay and the upstream: slow, cut, reset, silent; and its answer cut after every single byte."""

import threading
import time
from pathlib import Path

from tests.postgres import Databases
from torture.caller import Caller
from torture.house import House, sandbox
from torture.judge import judge
from torture.proxy import HARMS, Proxy, proxied
from torture.table import Part

LONGEST_ANSWER = 620
"""More than the bytes of an answer to a POST, its head included."""
TIMES_EACH = 5
CREATORS = 4
REST_SECONDS = 90.0
SECONDS_FOR_EVERY_BYTE = 60.0
"""With less time, only every so many bytes."""


def run(folder: Path, *, seed: int, seconds: float, server: Databases) -> Part:
    """Harm every POST once, with text ids and with numbers."""
    part = Part("wire")
    stride = max(1, round(SECONDS_FOR_EVERY_BYTE / max(seconds, 1)))
    for form in ("uuid-model", "number"):
        with sandbox(folder / form, seed=seed, id_form=form) as url, proxied(url) as (proxy, address):
            house = House(form, folder, upstream_url=address, upstream_max_in_flight="200")
            try:
                _harm_all(part, house, proxy, url, stride=stride)
            finally:
                house.close()
    part.figures.append(
        f"{part.counts['faults']} POSTs harmed; answers cut after every {stride}. byte, text and number"
    )
    return part


def _harm_all(part: Part, house: House, proxy: Proxy, url: str, *, stride: int) -> None:
    caller = Caller(house, house.victim(probes_once=True).start())
    orders = [f"[wire {what} {n}]" for what in HARMS for n in range(TIMES_EACH)]
    orders += [f"[wire truncate {n}]" for n in range(0, LONGEST_ANSWER, stride)]
    ended = threading.Event()
    operator = threading.Thread(target=_end_holds, args=(caller, ended), daemon=True)
    operator.start()
    creators = [threading.Thread(target=_create, args=(caller, orders[n::CREATORS])) for n in range(CREATORS)]
    for creator in creators:
        creator.start()
    for creator in creators:
        creator.join()
    deadline = time.monotonic() + REST_SECONDS
    while not caller.wait(caller.accepted, "succeeded", seconds=1.0) and time.monotonic() < deadline:
        pass
    ended.set()
    operator.join()
    left = {id_: state for id_, state in caller.states(caller.accepted).items() if state != "succeeded"}
    part.require(not left, f"{len(left)} did not end well: {dict(list(left.items())[:5])}")
    part.counts["faults"] += proxy.struck
    part.require(proxy.struck == len(orders), f"{proxy.struck} of {len(orders)} POSTs were harmed")
    time.sleep(4)  # an audit reads the log once more
    judge(part, house, url, accepted=caller.accepted)


def _create(caller: Caller, orders: list[str]) -> None:
    # What never reached the upstream is asked for again once the log has shown no trace of it.
    for order in orders:
        caller.create(order, on_unconfirmed="resubmit")


def _end_holds(caller: Caller, ended: threading.Event) -> None:
    while not ended.wait(0.2):
        caller.resume()
