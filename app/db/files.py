"""Uploads: what a project gave us to send along, until it expires."""

from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import creations
from app.db.jobs import Owner
from app.db.tables import files, job_files, jobs
from app.domain.errors import Conflict, NotFound
from app.domain.job import File, Job
from app.domain.states import ENDED_FOR_CALLERS, TERMINAL, JobState

T = files.c
INLINE = "inputs/"
"""Where the bytes lie that came within a job: they go with the last job that uses them."""
UPLOADED = "uploads/"
"""Where those lie that were uploaded by themselves: they stay until they expire or are deleted."""


FILE_COLUMNS = [T[name] for name in File.__dataclass_fields__]


def _as_file(row: Any) -> File:
    return File(**{name: row._mapping[T[name]] for name in File.__dataclass_fields__})


def insert(conn: Connection, file: File) -> None:
    """Write the row of an upload whose bytes are stored already."""
    conn.execute(files.insert(), asdict(file))


def get_many(
    conn: Connection, ids: list[str], *, project_id: str, subject: str | None, lock: bool = False
) -> dict[str, File]:
    """Return those of the owner's files that exist, by id. `lock` keeps the rows until the transaction ends."""
    query = sa.select(files).where(T.id.in_(ids), T.project_id == project_id, T.condemned_at.is_(None)).order_by(T.id)
    if lock:
        query = query.with_for_update()
    if subject is not None:
        query = query.where(T.subject == subject)
    return {row.id: _as_file(row) for row in conn.execute(query)}


def get(conn: Connection, file_id: str, *, owner: Owner, now: datetime, lock: bool = False) -> File:
    """Return the owner's file; raise NotFound for any other id, and once its time is over."""
    assert owner.project_id is not None, "files are always asked for by a project"
    found = get_many(conn, [file_id], project_id=owner.project_id, subject=owner.subject, lock=lock).get(file_id)
    if found is None or found.expires_at <= now:
        raise NotFound("There is no such file here: it has expired, or never was.")
    return found


def exists(conn: Connection, file_id: str) -> bool:
    """Tell whether there is a row of this id, whoever owns it."""
    return conn.execute(sa.select(T.id).where(T.id == file_id)).first() is not None


def withdraw(conn: Connection, file_id: str, *, owner: Owner, now: datetime) -> File:
    """Let nobody use the owner's file any more, and return it: its bytes can be deleted.

    Raises Conflict while a job may still send it upstream. The row's lock makes a new job that names the file wait, and
    then not find it.
    """
    file = get(conn, file_id, owner=owner, now=now, lock=True)
    if _used_by_unfinished(conn, [file.id], ended=ENDED_FOR_CALLERS):
        raise Conflict(
            "A job that has not finished uses this file. Cancel the job, or delete the file afterwards.",
            code="file_in_use",
        )
    condemn(conn, [file.id], now=now)
    return file


def keep_until(conn: Connection, ids: list[str], *, until: datetime) -> None:
    """A new job uses these files: keep them at least until then."""
    conn.execute(files.update().where(T.id.in_(ids), T.expires_at < until).values(expires_at=until))


def of_job(conn: Connection, job_id: str) -> dict[str, File | None]:
    """Return the uploads that a job uses, by id; None for one that is gone."""
    query = (
        sa.select(job_files.c.file_id, *FILE_COLUMNS)
        .outerjoin(files, sa.and_(T.id == job_files.c.file_id, T.condemned_at.is_(None)))
        .where(job_files.c.job_id == job_id)
    )
    return {row.file_id: None if row.id is None else _as_file(row) for row in conn.execute(query)}


def condemn_expired(conn: Connection, *, now: datetime, keep_used_until: datetime, limit: int) -> list[File]:
    """Mark uploads whose time is over, so that no new job can use them, and return all that are to be deleted.

    Those that an unfinished job still needs are kept for longer. What was marked before and could not be deleted then
    is returned again.
    """
    query = sa.select(files).where(T.expires_at <= now).order_by(T.expires_at).limit(limit)
    candidates = [_as_file(row) for row in conn.execute(query.with_for_update(skip_locked=True))]
    used = _used_by_unfinished(conn, [file.id for file in candidates])
    keep_until(conn, sorted(used), until=keep_used_until)
    doomed = [file for file in candidates if file.id not in used]
    condemn(conn, [file.id for file in doomed], now=now)
    return doomed


def condemn(conn: Connection, ids: list[str], *, now: datetime) -> None:
    """Mark uploads: nobody can use them any more, and their bytes go at once or with the next sweep."""
    conn.execute(files.update().where(T.id.in_(ids)).values(condemned_at=now, expires_at=now))
    creations.scrub(conn, *ids)


def _used_by_unfinished(conn: Connection, ids: list[str], *, ended: Collection[JobState] = TERMINAL) -> set[str]:
    query = (
        sa.select(job_files.c.file_id)
        .join(jobs, jobs.c.id == job_files.c.job_id)
        .where(job_files.c.file_id.in_(ids), jobs.c.state.not_in(sorted(ended)))
    )
    return set(conn.execute(query).scalars()) if ids else set()


def going_with(conn: Connection, job: Job) -> list[File]:
    """Return the uploads, locked, that came within a job and that no job but this one uses any more."""
    mine = sa.select(job_files.c.file_id).where(job_files.c.job_id == job.id)
    inline = sa.and_(T.project_id == job.project_id, T.storage_key.startswith(INLINE), T.condemned_at.is_(None))
    query = sa.select(files).where(T.id.in_(mine), inline).order_by(T.id)
    found = [_as_file(row) for row in conn.execute(query.with_for_update())]
    others = (
        sa.select(job_files.c.file_id)
        .join(jobs, jobs.c.id == job_files.c.job_id)
        .where(job_files.c.file_id.in_([file.id for file in found]), jobs.c.id != job.id, jobs.c.deleted_at.is_(None))
    )
    shared = set(conn.execute(others).scalars()) if found else set()
    return [file for file in found if file.id not in shared]


def unlink(conn: Connection, job_id: str) -> None:
    """Forget which uploads a deleted job used."""
    conn.execute(job_files.delete().where(job_files.c.job_id == job_id))


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
