"""Videos in S3: shared by replicas, and through an outage that costs nothing but time."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.processes import Deployment, ledger, sandbox, wait_for_all
from tests.object_store import SECRET, S3Server

JOBS = 12
JOB = {"model": "veo2", "input": {"prompt": "A boat"}}


@pytest.fixture
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


def wait_for(client: httpx2.Client, job_id: str, *, seconds: float = 30, **wanted: str) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        job: dict[str, Any] = client.get(f"/v1/jobs/{job_id}").raise_for_status().json()
        seen = {"state": job["state"], "reason": job["queue"]["reason"]}
        if all(seen[name] == value for name, value in wanted.items()):
            return job
        assert time.monotonic() < deadline, seen
        time.sleep(0.1)


def test_outage__a_video_waits_and_is_then_kept(folder: Path, s3: S3Server) -> None:
    with sandbox(folder, "--speed", "100") as upstream:
        house = Deployment(folder, upstream_url=upstream, database_url=None, storage_url=s3.url)
        house.environment |= s3.environment
        try:
            process, base = house.serve()
            headers = {"Authorization": f"Bearer {house.new_key()}"}
            with httpx2.Client(base_url=base, headers=headers, timeout=30) as client:
                s3.shut()
                slow = JOB | {"input": JOB["input"] | {"prompt": "A boat [[fault:slow=5]]"}}
                job_id = client.post("/v1/jobs", json=slow).raise_for_status().json()["id"]
                # Nothing is bought whose number could not be kept, nor whose video.
                assert wait_for(client, job_id, state="queued", reason="storage_unavailable")["attempts"] >= 1
                assert ledger(upstream)["count"] == 0
                s3.open()
                wait_for(client, job_id, state="generating")
                s3.shut()
                waiting = wait_for(client, job_id, state="saving", reason="storage_unavailable")
                assert (waiting["status"], waiting["error"]) == ("in_progress", None)
                assert client.get("/readyz").json() == {"status": "unavailable", "reasons": ["storage_unavailable"]}
                s3.open()
                wait_for(client, job_id, state="succeeded")
                content = f"/v1/jobs/{job_id}/content"
                video = client.get(content).raise_for_status().content
                assert video[4:8] == b"ftyp"
                s3.shut()
                away = client.get(content, headers={"Range": "bytes=0-9"})
                assert (away.status_code, away.json()["error"]["code"]) == (503, "storage_unavailable")
                assert int(away.headers["retry-after"]) > 0
                s3.open()
                assert client.get(content, headers={"Range": "bytes=0-9"}).content == video[:10]
            assert ledger(upstream)["count"] == 1
            assert SECRET not in process.said()
        finally:
            house.close()


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_replicas__share_one_store(folder: Path, database_url: str, s3: S3Server) -> None:
    with sandbox(folder, "--speed", "100", "--max-in-flight", "1000") as upstream:
        shared = {"storage_url": s3.url, "content_redirect": "true"}
        house = Deployment(folder, upstream_url=upstream, database_url=database_url, **shared)
        house.environment |= s3.environment
        try:
            house.run("migrate")
            key = house.new_key()
            bases = [house.serve("--no-worker", name=f"api{n}")[1] for n in (1, 2)]
            workers = [house.worker(f"worker{n}") for n in (1, 2)]
            asyncio.run(_create(bases, key))
            jobs = wait_for_all(bases[1], key, count=JOBS, seconds=60)
            assert {job["status"] for job in jobs} == {"succeeded"}
            assert ledger(upstream)["count"] == JOBS
            kept = [name for name in s3.object_names() if "/marks/" not in name]
            assert sorted(name.rpartition(".")[2] for name in kept) == ["jpg"] * JOBS + ["mp4"] * JOBS
            assert {name.rpartition("/")[0] for name in kept} == {"some/prefix/videos"}
            _every_api_leads_to_every_video(bases, key, jobs, s3)
            for worker in workers:
                assert '"event": "work_failed"' not in worker.said()
                worker.stop()
        finally:
            house.close()


async def _create(bases: list[str], key: str) -> None:
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
        answers = await asyncio.gather(*(client.post(f"{bases[n % 2]}/v1/jobs", json=JOB) for n in range(JOBS)))
    assert {answer.status_code for answer in answers} == {201}


def _every_api_leads_to_every_video(bases: list[str], key: str, jobs: list[dict[str, Any]], s3: S3Server) -> None:
    """By key, and by the job's own signed URL, as a browser would go."""
    headers = {"Authorization": f"Bearer {key}"}
    with httpx2.Client(timeout=30) as client:
        for job in jobs:
            for base in bases:
                answer = client.get(f"{base}/v1/jobs/{job['id']}/content", headers=headers)
                assert answer.status_code == 302
                assert answer.headers["location"].startswith(f"{s3.origin}/films/some/prefix/videos/{job['id']}")
        video = client.get(jobs[0]["video"]["url"], follow_redirects=True)
        assert (video.status_code, len(video.content)) == (200, jobs[0]["video"]["size_bytes"])
