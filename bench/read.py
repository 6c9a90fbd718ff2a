"""GET /v1/jobs/{id}: finished jobs in random order, the key checked each time, beside the floor with the same bytes.

Each was read before, so that the service may remember it: 10,000 are as many as clients ask after again and again.
"""

import random
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from app.db.engine import Database
from app.db.tables import jobs
from app.domain.ids import new_id
from app.domain.job import Job
from app.domain.states import JobState
from bench import databases, load, servers
from bench.figures import Figure, Goal
from bench.load import Load
from bench.plan import Plan

JOBS = 10_000
GOAL = Goal(of="ratio", at="least", limit=0.6)
VIDEO: dict[str, Any] = {
    "key": "videos/some.mp4",
    "poster_key": "videos/some.jpg",
    "content_type": "video/mp4",
    "size_bytes": 1_400_000,
    "sha256": "5" * 64,
    "duration_seconds": 5.0,
    "width": 1280,
    "height": 720,
    "fps": 24.0,
}


def measure(plan: Plan) -> list[Figure]:
    """Drive the floor, Reelay on SQLite and Reelay on Postgres in turn."""
    with databases.one_of_each(plan.kinds) as made, ExitStack() as running:
        sides: dict[str, Callable[[], Load]] = {}
        payload = b""
        for kind, (url, folder) in made.items():
            key, ids = fill(url, count=min(JOBS, plan.rows))
            base = running.enter_context(servers.reelay(folder, database_url=url))
            payload = _one_answer(base, ids[0], key=key)
            requests = load.write(folder / "requests", (load.get(f"/v1/jobs/{id_}", key=key) for id_ in ids))
            _read_twice(base, requests, count=len(ids), plan=plan)
            sides[kind] = partial(load.drive, base, requests, plan=plan)
        base = running.enter_context(servers.floor(folder, payload=payload))
        sides = {load.FLOOR: partial(load.drive, base, requests, plan=plan)} | sides
        return load.figures(load.interleaved(plan, sides), name="GET /v1/jobs/{id}", goal=GOAL)


def _read_twice(base: str, requests: Path, *, count: int, plan: Plan) -> None:
    """Drive for ever longer, from the first request on, until every one has been answered twice."""
    seconds = plan.seconds
    while load.drive(base, requests, plan=replace(plan, seconds=seconds)).good < 2 * count:
        seconds *= 2


def fill(url: str, *, count: int) -> tuple[str, list[str]]:
    """Write finished jobs; return a key that may read them, and their ids in random order."""
    database = Database(url)
    with database.transaction() as conn:
        now = datetime.now(UTC)
        project_id, key_id, key = databases.new_caller(conn, "bench", now=now)
        made = [_finished(project_id, key_id, now=now) for _ in range(count)]
        conn.execute(jobs.insert(), [asdict(job) for job in made])
    database.close()
    ids = [job.id for job in made]
    random.Random(1).shuffle(ids)
    return key, ids


def _finished(project_id: str, key_id: str, *, now: datetime) -> Job:
    id_ = new_id("job")
    return Job(
        id=id_,
        project_id=project_id,
        key_id=key_id,
        model="veo2/image-to-video",
        input={"prompt": "The sailboat drifts on.", "image_url": "https://pictures.example/boat.jpg", "duration": 5},
        metadata={"order": "A-17"},
        state=JobState.SUCCEEDED,
        version=4,
        attempts=1,
        saves=1,
        event_count=5,
        due_at=now,
        created_at=now,
        started_at=now,
        finished_at=now,
        upstream_path="/v2/video/generations",
        generation_id=f"gen-{id_}",
        expected_seconds=45.0,
        estimated_micros=2_500_000,
        estimate_basis="listed",
        charged_micros=2_500_000,
        charge_basis="reported",
        settled=True,
        video=VIDEO,
    )


def _one_answer(base: str, job_id: str, *, key: str) -> bytes:
    answer = httpx2.get(f"{base}/v1/jobs/{job_id}", headers={"Authorization": f"Bearer {key}"}, timeout=30)
    assert answer.raise_for_status().json()["video"]["sha256"] == VIDEO["sha256"]
    return answer.content
