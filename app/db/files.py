"""Uploads: what a project gave us to send along, until it expires."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db.tables import files, jobs
from app.domain.job import File, Job
from app.domain.states import TERMINAL

T = files.c
INLINE = "inputs/"
"""Where the bytes lie that came within a job: they go with the last job that uses them."""


def insert(conn: Connection, file: File) -> None:
    """Write the row of an upload whose bytes are stored already."""
    conn.execute(files.insert(), asdict(file))


def get_many(
    conn: Connection, ids: list[str], *, project_id: str, subject: str | None, lock: bool = False
) -> dict[str, File]:
    """Return those of the owner's files that exist, by id. `lock` keeps the rows until the transaction ends."""
    query = sa.select(files).where(T.id.in_(ids), T.project_id == project_id).order_by(T.id)
    if lock:
        query = query.with_for_update()
    if subject is not None:
        query = query.where(T.subject == subject)
    return {row.id: File(**row._mapping) for row in conn.execute(query)}


def keep_until(conn: Connection, ids: list[str], *, until: datetime) -> None:
    """A new job uses these files: keep them at least until then."""
    conn.execute(files.update().where(T.id.in_(ids), T.expires_at < until).values(expires_at=until))


def expired(conn: Connection, *, now: datetime, limit: int) -> list[File]:
    """Return uploads whose time is over."""
    query = sa.select(files).where(T.expires_at <= now).order_by(T.expires_at).limit(limit)
    return [File(**row._mapping) for row in conn.execute(query)]


def postpone_used(conn: Connection, candidates: list[File], *, until: datetime) -> list[File]:
    """Keep those that an unfinished job of their project still needs; return the others."""
    owners = sorted({file.project_id for file in candidates})
    running = sa.select(jobs.c.input).where(jobs.c.project_id.in_(owners), jobs.c.state.not_in(sorted(TERMINAL)))
    needed = {id_ for (given,) in conn.execute(running) for id_ in references(given)}
    used = [file.id for file in candidates if file.id in needed]
    if used:
        keep_until(conn, used, until=until)
    return [file for file in candidates if file.id not in needed]


def going_with(conn: Connection, job: Job) -> list[File]:
    """Return the uploads, locked, that came within a job and that no job but this one uses any more."""
    named = sorted(references(job.input))
    if not named:
        return []
    query = sa.select(files).where(T.id.in_(named), T.project_id == job.project_id, T.storage_key.startswith(INLINE))
    found = [File(**row._mapping) for row in conn.execute(query.order_by(T.id).with_for_update())]
    return [file for file in found if not _used_elsewhere(conn, file, job)]


def _used_elsewhere(conn: Connection, file: File, job: Job) -> bool:
    others = sa.select(jobs.c.id).where(
        jobs.c.project_id == job.project_id,
        jobs.c.deleted_at.is_(None),
        jobs.c.id != job.id,
        sa.cast(jobs.c.input, sa.Text).contains(file.id, autoescape=True),
    )
    return conn.execute(others.limit(1)).first() is not None


def delete(conn: Connection, ids: list[str]) -> None:
    """Forget uploads."""
    conn.execute(files.delete().where(T.id.in_(ids)))


def references(value: Any) -> set[str]:
    """Return the file ids that stand anywhere in a job's input."""
    if isinstance(value, str):
        return {value} if value.startswith("file_") else set()
    if isinstance(value, dict):
        return set().union(*map(references, value.values()))
    if isinstance(value, list):
        return set().union(*map(references, value))
    return set()
