"""Finished jobs whose video may be given again: found by their likeness, while it is kept."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db.jobs import as_job
from app.db.tables import jobs
from app.domain.job import Job

T = jobs.c
# Spelled out: Postgres would not see that a parameter names the state of the partial index.
_KEPT = (T.state == sa.literal_column("'succeeded'"), T.deleted_at.is_(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """Which jobs are the same to whom: one project's and one subject's, or nobody's, and never another's."""

    project_id: str
    subject: str | None
    likeness: str
    finished_after: datetime | None
    """What finished before is no longer shown, whether or not it was swept; None where all is kept."""

    def clauses(self) -> list[sa.ColumnElement[bool]]:
        subject = T.subject.is_(None) if self.subject is None else T.subject == self.subject
        bound = [T.project_id == self.project_id, subject, T.likeness == self.likeness, *_KEPT]
        return bound if self.finished_after is None else [*bound, T.finished_at > self.finished_after]


def newest(conn: Connection, alike: Alike) -> Job | None:
    """Return the newest finished job of this likeness, if one is kept."""
    return _one(conn, sa.select(jobs).where(*alike.clauses()).order_by(T.id.desc()).limit(1))


def still(conn: Connection, job_id: str, alike: Alike) -> Job | None:
    """Return the job, locked until the transaction ends, if it is kept still."""
    return _one(conn, sa.select(jobs).where(T.id == job_id, *alike.clauses()).with_for_update())


def _one(conn: Connection, query: sa.Select[Any]) -> Job | None:
    row = conn.execute(query).one_or_none()
    return None if row is None else as_job(row)
