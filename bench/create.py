"""POST /v1/jobs with JSON and a link: from one project and from 64, beside the floor with the same bytes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx2

from app.db.engine import Database
from bench import databases, load, servers
from bench.figures import Figure, Goal
from bench.load import Load
from bench.plan import Plan

PROJECTS = 64
MOST_A_SECOND = 10_000
"""No server here takes more: so many requests are written for a round, and none is sent twice."""
GOAL = Goal(of="ratio", at="least", limit=0.6)
SLOWEST = Goal(of="median", at="most", limit=150)


def measure(plan: Plan) -> list[Figure]:
    """Drive the floor and, on each database, Reelay with the key of one project and with those of 64, in turn."""
    orders = count()
    with databases.one_of_each(plan.kinds) as made, ExitStack() as running:
        sides: dict[str, Callable[[], Load]] = {}
        payload = b""
        for kind, (url, folder) in made.items():
            keys = _new_keys(url)
            base = running.enter_context(servers.reelay(folder, database_url=url))
            payload = _one_answer(base, key=keys[0])
            for some in (keys[:1], keys):
                name = f"{kind}, {len(some)} project{'s'[: len(some) - 1]}"
                sides[name] = partial(_round, base, folder, keys=some, orders=orders, plan=plan)
        base = running.enter_context(servers.floor(folder, payload=payload))
        sides = {load.FLOOR: partial(_round, base, folder, keys=keys[:1], orders=orders, plan=plan)} | sides
        loads = load.interleaved(plan, sides)
    return load.figures(loads, name="POST /v1/jobs", goal=GOAL, slowest_ms=SLOWEST)


def _new_keys(url: str) -> list[str]:
    database = Database(url)
    with database.transaction() as conn:
        now = datetime.now(UTC)
        keys = [databases.new_caller(conn, f"bench {number}", now=now)[2] for number in range(PROJECTS)]
    database.close()
    return keys


def _round(base: str, folder: Path, *, keys: list[str], orders: Iterator[int], plan: Plan) -> Load:
    """Send orders that nobody has sent before, the keys in turn."""
    number = range(int(MOST_A_SECOND * plan.seconds))
    fresh = (load.post("/v1/jobs", _order(next(orders)), key=keys[i % len(keys)]) for i in number)
    return load.drive(base, load.write(folder / "requests", fresh), plan=plan)


def _order(number: int) -> dict[str, Any]:
    return {
        "model": "veo2/image-to-video",
        "input": {
            "prompt": f"The sailboat drifts on, take {number}.",
            "image_url": "https://pictures.example/boat.jpg",
            "duration": 5,
        },
        "metadata": {"order": f"A-{number}"},
    }


def _one_answer(base: str, *, key: str) -> bytes:
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx2.post(f"{base}/v1/jobs", json=_order(-1), headers=headers, timeout=30)
    assert answer.status_code == 201, answer.text
    return answer.content
