"""The stock `openai` client behind a proxy that cuts Reelay's answers off: one job and one purchase for every call."""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from openai import OpenAI

from tests.postgres import Databases
from torture.caller import Caller
from torture.house import House, sandbox
from torture.judge import judge
from torture.lanes import run_side_by_side
from torture.proxy import HARMS, proxied
from torture.quiet import moving
from torture.table import Part

MOST_BYTES = 1050
"""More than an answer to a create has."""
STRIDE = 11
CALLERS = 8
TIMEOUT_SECONDS = 4.0
RETRIES = 4
"""More than an SDK makes by itself: a call that gives up would show nothing."""
REST_SECONDS = 60.0


def run(folder: Path, *, seed: int, seconds: float, server: Databases) -> Part:
    """Harm the answer to every call, to every third one twice, on both databases."""
    kinds = {"SQLite": None, "Postgres": server}
    stride = max(STRIDE, round(STRIDE * 20 / max(seconds, 1)))
    lane = partial(_run, folder=folder, seed=seed, stride=stride)
    return run_side_by_side("client", {name: partial(lane, name=name, server=kinds[name]) for name in kinds})


def _run(part: Part, *, name: str, folder: Path, seed: int, stride: int, server: Databases | None) -> None:
    database_url = server.create_database() if server else None
    with sandbox(folder / name, seed=seed) as url:
        house = House(f"client-{name}", folder, upstream_url=url, database_url=database_url)
        try:
            serve = house.victim(probes_once=True).start()
            with proxied(serve.base) as (proxy, address):
                orders = [f"[wire {harm} {n}]" for harm in HARMS for n in range(2)]
                cuts = range(0, MOST_BYTES, stride)
                orders += [f"[wire truncate {cut}{' x2' * (n % 3 == 0)}]" for n, cut in enumerate(cuts)]
                client = OpenAI(
                    base_url=f"{address}/v1", api_key=house.key, max_retries=RETRIES, timeout=TIMEOUT_SECONDS
                )
                with ThreadPoolExecutor(CALLERS) as callers:
                    made = dict(zip(orders, callers.map(partial(_create, client), orders), strict=True))
            part.counts["faults"] += proxy.struck.total()
            shortest = min(proxy.cuts["truncate"].values())
            part.require(proxy.struck.keys() == {*HARMS, "truncate"}, f"[{name}] harmed only {sorted(proxy.struck)}")
            part.figures.append(
                f"{name}: {len(orders)} calls, {proxy.struck.total()} answers harmed, cut after every {stride} of"
                f" {shortest} bytes"
            )
            _one_of_each(part, name, made, house=house, caller=Caller(house, serve))
            judge(part, house, url, accepted=set(made.values()))
        finally:
            house.close()


def _create(client: OpenAI, order: str) -> str:
    answer: Any = client.post("/jobs", cast_to=object, body={"model": "veo2", "input": {"prompt": order}})
    return str(answer["id"])


def _one_of_each(part: Part, name: str, made: dict[str, str], *, house: House, caller: Caller) -> None:
    deadline = time.monotonic() + REST_SECONDS
    while moving(house) and time.monotonic() < deadline:
        time.sleep(0.5)
    states = caller.states()
    part.require(len(set(made.values())) == len(made), f"[{name}] two calls were told the same job")
    part.counts["duplicates"] += len(states) - len(made)
    part.require(len(states) == len(made), f"[{name}] {len(made)} calls made {len(states)} jobs")
    unfinished = {id_: state for id_, state in states.items() if state != "succeeded"}
    part.require(not unfinished, f"[{name}] not all succeeded: {unfinished}")
