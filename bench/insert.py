"""The rows of a new job, its event included: the processor's time of one `jobs.insert`, its commit left out."""

import time
from datetime import UTC, datetime

from app.db import jobs
from app.db.engine import Database
from app.domain.ids import new_id
from app.domain.job import Job
from bench import databases
from bench.figures import Figure
from bench.plan import Plan

JOBS = 500


def measure(plan: Plan) -> list[Figure]:
    """Insert jobs one by one, a round in one transaction."""
    found = []
    with databases.one_of_each(plan.kinds) as made:
        for kind, (url, _) in made.items():
            database = Database(url)
            with database.transaction() as conn:
                project_id, key_id, _secret = databases.new_caller(conn, "bench", now=datetime.now(UTC))
            samples = [_round(database, project_id, key_id) for _ in range(plan.rounds)]
            found.append(Figure(name=f"insert a job, {kind}", unit="us", samples=samples))
            database.close()
    return found


def _round(database: Database, project_id: str, key_id: str) -> float:
    with database.transaction() as conn:
        began = time.process_time()
        for _ in range(JOBS):
            jobs.insert(conn, queued(project_id, key_id=key_id, now=datetime.now(UTC)))
        return (time.process_time() - began) / JOBS * 1e6


def queued(project_id: str, *, key_id: str | None = None, now: datetime) -> Job:
    """Return a job as a create makes it."""
    return Job(
        id=new_id("job"),
        project_id=project_id,
        key_id=key_id,
        model="veo2/image-to-video",
        input={"prompt": "The sailboat drifts on.", "image_url": "https://pictures.example/boat.jpg", "duration": 5},
        metadata={"order": "A-17"},
        upstream_path="/v2/video/generations",
        estimated_micros=2_500_000,
        estimate_basis="listed",
        reserved_micros=2_500_000,
        due_at=now,
        created_at=now,
    )
