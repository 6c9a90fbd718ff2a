"""Two APIs and two workers on one Postgres share the work, and never overfill the upstream."""

import asyncio
import os
from pathlib import Path

import httpx2
import pytest

from tests.acceptance.processes import Deployment, Process, ledger, sandbox, wait_for_all

JOBS = int(os.environ.get("REPLICA_JOBS", "60"))
"""REPLICA_JOBS=500 runs the full measure; fewer find the same faults sooner."""
LIMIT = 20
TOKEN = "0123456789abcdef" * 4


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_replicas__share_the_jobs(folder: Path, database_url: str) -> None:
    with sandbox(folder, "--speed", "100", "--max-in-flight", "1000") as upstream:
        settings = {"upstream_max_in_flight": str(LIMIT), "metrics_listen": "127.0.0.1:0", "metrics_token": TOKEN}
        house = Deployment(folder, upstream_url=upstream, database_url=database_url, **settings)
        try:
            house.run("migrate")
            key = house.new_key()
            bases = [house.serve("--no-worker", name=f"api{n}")[1] for n in (1, 2)]
            workers = [house.worker(f"worker{n}") for n in (1, 2)]
            asyncio.run(_create(bases, key))
            jobs = wait_for_all(bases[1], key, count=JOBS, seconds=30 + JOBS)
            sold = ledger(upstream)
            assert {job["status"] for job in jobs} == {"succeeded"}
            assert {job["attempts"] for job in jobs} == {1}
            bought_for = [purchase["client_request_id"].split(":")[2] for purchase in sold["purchases"]]
            assert sorted(bought_for) == sorted(job["id"] for job in jobs)
            assert LIMIT // 2 < sold["max_in_flight_seen"] <= LIMIT
            _no_job_worked_twice(bases[0], key, jobs)
            assert sum(map(_bought, workers)) == JOBS
            for worker in workers:
                assert '"event": "work_failed"' not in worker.said()
                assert worker.stop() < 10
        finally:
            house.close()


def _bought(worker: Process) -> int:
    """Return how many generations the worker says that it bought."""
    address = worker.said().partition("Metrics at ")[2].split()[0]
    text = httpx2.get(address, headers={"Authorization": f"Bearer {TOKEN}"}).raise_for_status().text
    bought = text.partition('reelay_upstream_calls_total{kind="submit",outcome="ok"} ')[2]
    return int(float(bought.split()[0]))


async def _create(bases: list[str], key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(headers=headers, timeout=30, limits=httpx2.Limits(max_connections=16)) as client:

        async def create(n: int) -> None:
            body = {"model": "veo2", "input": {"prompt": f"Clip {n}"}}
            answer = await client.post(f"{bases[n % 2]}/v1/jobs", json=body)
            assert answer.status_code == 201, answer.text

        await asyncio.gather(*(create(n) for n in range(JOBS)))


def _no_job_worked_twice(base: str, key: str, jobs: list[dict[str, object]]) -> None:
    """Each timeline has every step once, in order."""
    steps = ["job.created", "job.submitting", "job.started", "job.saving", "job.succeeded"]
    with httpx2.Client(base_url=base, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
        for job in jobs[::10]:
            timeline = client.get(f"/v1/jobs/{job['id']}/events").raise_for_status().json()["data"]
            assert [event["type"] for event in timeline] == steps
