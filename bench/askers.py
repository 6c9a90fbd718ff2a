"""Asks after generations without a pause, so many questions at a time, on one core, and prints how many a second."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

import httpx
import uvloop
from pydantic import SecretStr

from app.upstream.client import UpstreamClient
from bench import cores, upstream

KEY = "a key that nobody checks".replace(" ", "-")
PATIENCE_SECONDS = 60
Ask = Callable[[], Awaitable[object]]


def ours(address: str) -> Ask:
    """All of a poll: the request, the answer, and what is understood of it."""
    client = UpstreamClient(address, api_key=SecretStr(KEY), fetch_timeout_seconds=PATIENCE_SECONDS)
    generation = _pending()
    return lambda: client.fetch(path=upstream.PATH, generation_id=generation)


def stock(address: str) -> Ask:
    """As most would write it: one client of httpx, without a limit of its own, and the answer as JSON."""
    client = httpx.AsyncClient(
        headers={"Authorization": f"Bearer {KEY}"},
        limits=httpx.Limits(max_connections=None),
        timeout=PATIENCE_SECONDS,
        trust_env=False,
    )
    url, params = address + upstream.PATH, {"generation_id": _pending()}

    async def ask() -> object:
        return (await client.get(url, params=params)).json()

    return ask


ASKERS = {"ours": ours, "httpx": stock}


def _pending() -> str:
    return upstream.generation_id(1, ends_at=time.time() + 24 * 3600)


async def _measure(ask: Ask, *, concurrent: int, seconds: float) -> float:
    answered = 0

    async def asking(until: float) -> None:
        nonlocal answered
        while time.monotonic() < until:
            await ask()
            answered += 1

    await ask()  # warms up
    answered, began = 0, time.monotonic()
    await asyncio.gather(*(asking(began + seconds) for _ in range(concurrent)))
    return answered / (time.monotonic() - began)


async def _main(name: str, address: str, concurrent: str, seconds: str) -> None:
    cores.keep_to_one()
    print(await _measure(ASKERS[name](address), concurrent=int(concurrent), seconds=float(seconds)), flush=True)


if __name__ == "__main__":
    uvloop.run(_main(*sys.argv[1:]))
