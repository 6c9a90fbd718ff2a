"""One worker that watches generations, on one core, until its input ends. Nothing is submitted, nothing saved."""

import asyncio
import sys

import uvloop
from pydantic import SecretStr

from app import telemetry
from app.db.engine import Database
from app.upstream.client import UpstreamClient
from app.workers.loop import run_all
from app.workers.poll import Poller
from bench import cores


async def _main(database_url: str, upstream_address: str) -> None:
    cores.keep_to_one()
    telemetry.configure(style="json")
    db, stop = Database(database_url), asyncio.Event()
    async with UpstreamClient(upstream_address, api_key=SecretStr("a-key-that-nobody-checks")) as client:
        running = asyncio.create_task(run_all([Poller(db, client)], signals=db.signals, stop=stop))
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        stop.set()
        await running
    db.close()


if __name__ == "__main__":
    uvloop.run(_main(*sys.argv[1:]))
