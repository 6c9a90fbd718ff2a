"""Killed at random, restarted each time: nothing lost, nothing bought twice."""

import os
import random
import threading
import time
from pathlib import Path

import httpx2

from tests.acceptance.processes import Deployment, ledger, sandbox, wait_for_all

JOBS = int(os.environ.get("CRASH_JOBS", "20"))
KILLS = int(os.environ.get("CRASH_KILLS", "4"))
"""CRASH_JOBS=50 CRASH_KILLS=10 runs the full measure."""


def test_kill_nine__every_job_ends_or_is_visibly_unconfirmed(folder: Path, database_url: str | None) -> None:
    chance = random.Random(20261123)
    with sandbox(folder, "--speed", "40") as upstream:
        house = Deployment(folder, upstream_url=upstream, database_url=database_url, lease_seconds="2")
        try:
            if database_url is not None:
                house.run("migrate")
            key = house.new_key()
            process, base = house.serve()
            creating = _Creator(base, key)
            creating.start()
            for _ in range(KILLS):
                time.sleep(chance.uniform(0.3, 1.2))
                process.kill()
                process.start(wait=False)
                process.wait_ready()
            creating.join(timeout=60)
            assert not creating.is_alive()
            jobs = wait_for_all(base, key, count=JOBS, seconds=60)
            _judge(jobs, created=creating.ids, sold=ledger(upstream))
            assert process.stop() < 10
        finally:
            house.close()


def _judge(jobs: list[dict[str, object]], *, created: set[str], sold: dict[str, object]) -> None:
    by_id = {str(job["id"]): job for job in jobs}
    assert created <= set(by_id), "an accepted job was lost"
    purchases = [str(purchase["client_request_id"]) for purchase in sold["purchases"]]
    bought_for = [request_id.split(":")[2] for request_id in purchases]
    assert len(set(bought_for)) == len(bought_for), "a job was bought twice"
    assert set(bought_for) <= set(by_id), "something was bought for no job"
    succeeded = {id_ for id_, job in by_id.items() if job["status"] == "succeeded"}
    unconfirmed = {id_ for id_, job in by_id.items() if job["state"] == "unconfirmed"}
    assert succeeded | unconfirmed == set(by_id)
    assert succeeded <= set(bought_for) <= succeeded | unconfirmed
    assert len(succeeded) >= JOBS // 2


class _Creator(threading.Thread):
    """Creates jobs through whatever happens; what was answered 201 must never be lost."""

    def __init__(self, base: str, key: str) -> None:
        super().__init__(daemon=True)
        self._client = httpx2.Client(base_url=base, headers={"Authorization": f"Bearer {key}"}, timeout=5)
        self.ids: set[str] = set()

    def run(self) -> None:
        with self._client:
            while len(self.ids) < JOBS:
                self._create()

    def _create(self) -> None:
        body = {"model": "veo2", "input": {"prompt": f"Clip {len(self.ids)}"}}
        try:
            answer = self._client.post("/v1/jobs", json=body)
        except httpx2.TransportError:
            time.sleep(0.05)
            return
        assert answer.status_code == 201, answer.text
        self.ids.add(answer.json()["id"])
        time.sleep(0.1)
