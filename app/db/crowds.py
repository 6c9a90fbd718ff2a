"""New jobs by the crowd: their rows and first events, in about as many statements as those of one."""

from collections.abc import Sequence
from dataclasses import fields

from sqlalchemy import Connection

from app.db import events
from app.db.signals import SUBMIT, announce, job_topic
from app.db.tables import jobs
from app.domain.actor import Actor
from app.domain.job import Job
from app.domain.states import JobState, event_type

_COLUMNS = [field.name for field in fields(Job)]


def insert_all(conn: Connection, new: Sequence[tuple[Job, Actor | None]]) -> None:
    """Write many new jobs as `jobs.insert` writes one, each event in the name of who is beside its job.

    They are queued, made at one moment, count their first event already, and use no uploads.
    """
    if any(job.state is not JobState.QUEUED or job.event_count != 1 for job, _ in new):
        raise ValueError("only new, queued jobs with one event are made by the crowd")
    # Without what is empty in all of them, as `jobs.insert`.
    names = [name for name in _COLUMNS if any(getattr(job, name) is not None for job, _ in new)]
    conn.execute(jobs.insert(), [{name: getattr(job, name) for name in names} for job, _ in new])
    events.append_all(conn, new, type=event_type(None, JobState.QUEUED), now=new[0][0].created_at)
    announce(conn, SUBMIT, *(job_topic(job.id) for job, _ in new))
