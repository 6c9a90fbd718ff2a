"""A process that is killed while it delivers: every event gets through all the same, with the same id."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from tests.acceptance.processes import Deployment, all_jobs, sandbox, wait_for_all
from tests.receiver import Received, receiving, status

JOBS = 12
LONGEST_SECONDS = 90
TOLD = ["job.created", "job.started", "job.succeeded"]


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_webhooks__a_process_killed_in_mid_delivery(folder: Path, database_url: str) -> None:
    """The killed one holds requests that the receiver never answers. Nothing else is sent twice."""
    async with receiving() as receiver:
        held, killed = set[str](), asyncio.Event()

        async def answer(received: Received) -> bytes:
            if not killed.is_set():
                held.add(received.id)
                await killed.wait()
            return status(200)

        receiver.answer = answer
        with sandbox(folder, "--speed", "100", "--max-in-flight", "1000") as upstream:
            house = Deployment(
                folder,
                upstream_url=upstream,
                database_url=database_url,
                trusted_hosts=receiver.place,
                public_url="https://reelay.test",
            )
            try:
                secret, jobs = await asyncio.to_thread(_until_jobs_are_done, house, receiver.url())
                assert held, "nothing was being delivered"
                victim = house._processes[-1]
                victim.kill()
                killed.set()
                let_leases_run_out(database_url)
                victim.start()
                await _all_told({(job["id"], type_) for job in jobs for type_ in TOLD}, receiver.received)
            finally:
                house.close()
    twice = {id_ for id_, times in Counter(received.id for received in receiver.received).items() if times > 1}
    assert twice <= held
    assert twice, "the killed process had delivered what it held"
    events = {received.id: received.verified(secret) for received in receiver.received}
    told = sorted((event["data"]["id"], event["type"]) for event in events.values())
    assert told == sorted((job["id"], type_) for job in jobs for type_ in TOLD)


def let_leases_run_out(database_url: str) -> None:
    """Half a minute has passed, as far as the deliveries can tell that the killed process held."""
    with psycopg.connect(database_url) as connection:
        held = connection.execute("UPDATE deliveries SET due_at = now() WHERE lease_token IS NOT NULL")
        assert held.rowcount > 0


def _until_jobs_are_done(house: Deployment, url: str) -> tuple[str, list[dict[str, Any]]]:
    """Start everything, add an endpoint, let the jobs finish; return the endpoint's secret and the jobs."""
    house.run("migrate")
    key = house.new_key()
    _, base = house.serve("--no-worker", name="api")
    house.worker("worker")
    with httpx2.Client(base_url=base, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
        made = client.post("/v1/webhooks", json={"url": url})
        assert made.status_code == 201, made.text
        for number in range(JOBS):
            answer = client.post("/v1/jobs", json={"model": "veo2", "input": {"prompt": f"Clip {number}"}})
            assert answer.status_code == 201, answer.text
    wait_for_all(base, key, count=JOBS, seconds=60)
    secret: str = made.json()["secret"]
    return secret, all_jobs(base, key)


async def _all_told(wanted: set[tuple[str, str]], received: list[Received]) -> None:
    """Wait until each of them has come after the kill, or before."""
    async with asyncio.timeout(LONGEST_SECONDS):
        while wanted - {(one.event["data"]["id"], one.event["type"]) for one in received}:
            await asyncio.sleep(0.1)
        # What was held by the killed process comes once more, when its lease has ended.
        while len(received) <= len(wanted):
            await asyncio.sleep(0.1)
