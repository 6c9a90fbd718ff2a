"""Rows and bytes to begin a test with."""

import io
from datetime import timedelta
from functools import cache
from typing import Any

from PIL import Image
from sqlalchemy import Connection

from app.api.callers import Caller
from app.db import access, files, jobs
from app.db.engine import Database
from app.domain.ids import new_id
from app.domain.job import Job
from app.domain.secrets import DEFAULT_SCOPES, Scope
from app.domain.states import JobState

MODEL = "veo2/image-to-video"
LINK = "https://pictures.example/mona-lisa.jpg"
INPUT = {"prompt": "Mona Lisa puts on glasses with her hands.", "image_url": LINK}
VIDEO = bytes(range(256)) * 40

PATHS = {
    JobState.QUEUED: (),
    JobState.CANCELED: (JobState.CANCELED,),
    JobState.SUBMITTING: (JobState.SUBMITTING,),
    JobState.UNCONFIRMED: (JobState.SUBMITTING, JobState.UNCONFIRMED),
    JobState.GENERATING: (JobState.SUBMITTING, JobState.GENERATING),
    JobState.ABANDONED: (JobState.SUBMITTING, JobState.GENERATING, JobState.ABANDONED),
    JobState.FAILED: (JobState.SUBMITTING, JobState.GENERATING, JobState.FAILED),
    JobState.SAVING: (JobState.SUBMITTING, JobState.GENERATING, JobState.SAVING),
    JobState.SUCCEEDED: (JobState.SUBMITTING, JobState.GENERATING, JobState.SAVING, JobState.SUCCEEDED),
}
"""How a job comes to each state."""


@cache
def picture(kind: str = "JPEG", size: tuple[int, int] = (8, 6)) -> bytes:
    """A tiny real image."""
    written = io.BytesIO()
    Image.new("RGB", size, (180, 40, 90)).save(written, kind)
    return written.getvalue()


def make_caller(
    database: Database,
    *,
    project: str = "films",
    scopes: frozenset[Scope] = DEFAULT_SCOPES,
    subject: str | None = None,
    lifetime: timedelta | None = None,
    requests_per_minute: int | None = None,
) -> tuple[Caller, str]:
    """Make a key, and its project if there is none of that name; return the caller and the secret."""
    with database.transaction() as conn:
        now = database.now(conn)
        found = {known.name: known for known in access.list_projects(conn)}.get(project)
        owner = found or access.create_project(conn, project, now=now)
        key, secret = access.create_key(
            conn,
            project_id=owner.id,
            name="test",
            scopes=scopes,
            subject=subject,
            now=now,
            expires_at=None if lifetime is None else now + lifetime,
            requests_per_minute=requests_per_minute,
        )
    return Caller(key, owner), secret


def make_job(database: Database, caller: Caller, *, state: JobState = JobState.QUEUED, **given: Any) -> Job:
    """Make a job and lead it to `state` by its lawful moves."""
    with database.transaction() as conn:
        now = database.now(conn)
        values: dict[str, Any] = {
            "id": new_id("job"),
            "project_id": caller.key.project_id,
            "key_id": caller.key.id,
            "subject": caller.key.subject,
            "model": MODEL,
            "input": INPUT,
            "upstream_path": "/v2/video/generations",
            "due_at": now,
            "created_at": now,
        }
        job = jobs.insert(conn, Job(**values | given), file_ids=files.references((values | given)["input"]))
        for to in PATHS[state]:
            job = lead(conn, database, job, to=to)
    return job


def lead(conn: Connection, database: Database, job: Job, *, to: JobState, **more: Any) -> Job:
    """Make one lawful move with what it needs."""
    now = database.now(conn)
    changes: dict[JobState, dict[str, Any]] = {
        JobState.SUBMITTING: {"lease_token": "t", "lease_expires_at": now + timedelta(minutes=1), "attempts": 1},
        JobState.GENERATING: {"generation_id": f"gen-{job.id}", "started_at": now, "expected_seconds": 40.0},
        JobState.FAILED: {
            "error_code": "upstream_failed",
            "error_message": "It failed.",
            "billed": False,
            "settled": True,
        },
        JobState.SUCCEEDED: {"video": video_of(job), "settled": True},
    }
    moved = jobs.advance(conn, job, to=to, now=now, **changes.get(to, {}) | more)
    assert moved is not None
    return moved


def video_of(job: Job) -> dict[str, Any]:
    return {
        "key": f"videos/{job.id}.mp4",
        "poster_key": f"videos/{job.id}.jpg",
        "content_type": "video/mp4",
        "size_bytes": len(VIDEO),
        "sha256": "5" * 64,
        "duration_seconds": 5.0,
        "width": 1280,
        "height": 720,
        "fps": 24.0,
    }
