"""Many live readers over an API that is killed and a worker that is killed: each has every event once, in order."""

import asyncio
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from tests.acceptance.processes import Deployment, Process, sandbox, wait_for_all

READERS = int(os.environ.get("LIVE_READERS", "60"))
"""LIVE_READERS=1000 runs the full measure; fewer find the same faults sooner."""
JOBS = 30
STEPS = ["job.created", "job.submitting", "job.started", "job.saving", "job.succeeded"]


@dataclass
class Reader:
    """Follows the project, and comes again whenever it is cut off, as an EventSource does."""

    base: str
    seen: list[tuple[int, str, str]] = field(default_factory=list)
    """Numbers, names, and the jobs they tell of."""
    cuts: int = 0

    def last_of_each(self) -> list[str]:
        """Return what was told last of each job."""
        return list({job: name for _, name, job in self.seen}.values())

    def is_done(self) -> bool:
        """Who is killed just before a POST leaves a job to a person: no end of that one is awaited."""
        return sum(name in ("job.succeeded", "job.unconfirmed") for name in self.last_of_each()) == JOBS

    async def read(self, client: httpx2.AsyncClient) -> None:
        while not self.is_done():
            headers = {"Accept": "text/event-stream", "Last-Event-ID": str(self.seen[-1][0] if self.seen else 0)}
            try:
                async with client.stream("GET", f"{self.base}/v1/events", headers=headers) as answer:
                    if answer.status_code == 200:
                        await self._take(answer)
            except httpx2.TransportError:
                pass
            if not self.is_done():
                self.cuts += 1
                await asyncio.sleep(0.2)

    async def _take(self, answer: httpx2.Response) -> None:
        number = name = ""
        async for line in answer.aiter_lines():
            kind, _, value = line.partition(": ")
            match kind:
                case "id":
                    number = value
                case "event":
                    name = value
                case "data":
                    self.seen.append((int(number), name, json.loads(value)["data"]["job_id"]))
                    if self.is_done():
                        return


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_live__nothing_is_left_out_and_nothing_comes_twice(folder: Path, database_url: str) -> None:
    with sandbox(folder, "--speed", "100", "--max-in-flight", "1000") as upstream:
        house = Deployment(folder, upstream_url=upstream, database_url=database_url, lease_seconds="2")
        try:
            house.run("migrate")
            key = house.new_key()
            apis = [house.serve("--no-worker", name=f"api{n}") for n in (1, 2)]
            workers = [house.worker(f"worker{n}") for n in (1, 2)]
            readers = asyncio.run(_follow([base for _, base in apis], key, apis[0][0], workers[0]))
            wait_for_all(apis[1][1], key, count=JOBS, seconds=30)
        finally:
            house.close()
    first = readers[0].seen
    assert all(reader.seen == first for reader in readers)
    numbers = [number for number, _, _ in first]
    assert numbers == sorted(set(numbers))
    assert sum(reader.cuts > 0 for reader in readers) >= READERS // 2
    told = [name for _, name, _ in first]
    left = readers[0].last_of_each().count("job.unconfirmed")
    assert left <= JOBS // 5
    assert all(told.count(name) >= JOBS - left for name in STEPS)
    assert (told.count("job.created"), told.count("job.succeeded")) == (JOBS, JOBS - left)


async def _follow(bases: list[str], key: str, api: Process, worker: Process) -> list[Reader]:
    """Follow the making of the jobs while an API and a worker are killed; the API comes back."""
    readers = [Reader(bases[n % 2]) for n in range(READERS)]
    limits = httpx2.Limits(max_connections=READERS + 16)
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60, limits=limits) as client, asyncio.timeout(120 + READERS):
        reading = [asyncio.ensure_future(reader.read(client)) for reader in readers]
        for n in range(JOBS):
            answer = await client.post(f"{bases[1]}/v1/jobs", json={"model": "veo2", "input": {"prompt": f"Clip {n}"}})
            assert answer.status_code == 201, answer.text
            if n == JOBS // 3:
                api.kill()
            elif n == JOBS // 2:
                worker.kill()
                api.start(wait=False)
        await asyncio.gather(*reading)
    return readers
