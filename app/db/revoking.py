"""What ends with a key or a project: the jobs they have queued. What was bought, or may have been, is settled."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import jobs, submissions
from app.db.columns import one_of
from app.db.jobs import as_job
from app.db.tables import jobs as jobs_table
from app.db.tables import keys, projects
from app.domain.job import Job, SubmissionState
from app.domain.states import JobState

T = jobs_table.c
AT_ONCE = 200
"""How many are canceled in one transaction, so that others get their turn."""


def cancel_unsent(
    conn: Connection, *, project_id: str, key_id: str | None = None, reason: str, now: datetime, limit: int
) -> int:
    """Cancel what a project, or one key with its tokens, has queued; return how many, at most about `limit`.

    A job whose request is prepared and has not left is stopped before it does.
    """
    mine = [T.project_id == project_id] + ([] if key_id is None else [T.key_id == key_id])
    data = {"reason": reason}
    canceled = 0
    for job in _locked(conn, *mine, one_of(T.state, [JobState.QUEUED]), limit=limit):
        canceled += jobs.advance(conn, job, to=JobState.CANCELED, now=now, data=data, settled=True) is not None
    unasked = one_of(T.state, [JobState.SUBMITTING]), T.cancel_requested_at.is_(None)
    for job in _locked(conn, *mine, *unasked, limit=limit):
        # The row's lock keeps the worker from sending until this is committed, and then it may not.
        if submissions.latest(conn, job).state is SubmissionState.PREPARED:
            jobs.note(conn, job, type="job.cancel_requested", now=now, data=data, cancel_requested_at=now)
            canceled += 1
    return canceled


def is_unwanted(conn: Connection, job: Job) -> bool:
    """Tell whether a job that comes back unbought must not wait for another try: its project or its key has ended."""
    query = (
        sa.select(projects.c.archived_at, keys.c.cancel_queued)
        .outerjoin_from(projects, keys, keys.c.id == job.key_id)
        .where(projects.c.id == job.project_id)
    )
    row = conn.execute(query).one_or_none()
    return row is not None and (row.archived_at is not None or bool(row.cancel_queued))


def _locked(conn: Connection, *clauses: sa.ColumnElement[bool], limit: int) -> list[Job]:
    query = sa.select(jobs_table).where(*clauses).order_by(T.id).limit(limit).with_for_update()
    return [as_job(row) for row in conn.execute(query)]
