"""64 writers on SQLite: not one lock error, and nobody waits long."""

import asyncio
import os
import time
from pathlib import Path

import httpx2

from tests.acceptance.processes import Deployment, sandbox

WRITERS = 64
SECONDS = float(os.environ.get("WRITER_SECONDS", "5"))
"""WRITER_SECONDS=60 runs the whole minute; a shorter run finds the same faults."""


def test_writers__sixty_four_on_sqlite(folder: Path) -> None:
    with sandbox(folder, "--speed", "10") as upstream:
        house = Deployment(folder, upstream_url=upstream, database_url=None)
        try:
            key = house.new_key()
            process, base = house.serve()
            waits, statuses = asyncio.run(_write(base, key))
            assert set(statuses) == {201}
            assert "database is locked" not in process.said()
            assert "_failed" not in process.said()
            waits.sort()
            print(
                f"{len(waits) / SECONDS:.0f} jobs/s, p50 {waits[len(waits) // 2] * 1000:.0f} ms, "
                f"p99 {waits[int(len(waits) * 0.99)] * 1000:.0f} ms"
            )
            assert len(waits) > WRITERS * 3
        finally:
            house.close()


async def _write(base: str, key: str) -> tuple[list[float], list[int]]:
    waits: list[float] = []
    statuses: list[int] = []
    end = time.monotonic() + SECONDS
    headers = {"Authorization": f"Bearer {key}"}
    limits = httpx2.Limits(max_connections=WRITERS, max_keepalive_connections=WRITERS)
    async with httpx2.AsyncClient(base_url=base, headers=headers, timeout=30, limits=limits) as client:

        async def writer(n: int) -> None:
            while time.monotonic() < end:
                started = time.monotonic()
                answer = await client.post("/v1/jobs", json={"model": "veo2", "input": {"prompt": f"Writer {n}"}})
                waits.append(time.monotonic() - started)
                statuses.append(answer.status_code)

        await asyncio.gather(*(writer(n) for n in range(WRITERS)))
    return waits, statuses
