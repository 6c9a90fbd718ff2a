"""The timeline: immutable facts about jobs, written in the transaction of the change they record."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import owing
from app.db.acts import actor_of
from app.db.tables import events
from app.domain.actor import Actor
from app.domain.ids import new_id
from app.domain.job import Event, Job
from app.domain.states import JobState
from app.domain.webhooks import SENT

COLUMNS = [events.c[name] for name in Event.__dataclass_fields__]


def append(conn: Connection, job: Job, *, type: str, now: datetime, data: dict[str, Any]) -> None:  # noqa: A002
    """Write one fact about `job`, numbered by the job's own count, which the caller has just raised.

    It names who acts in this transaction, if somebody does, and what it owes to those who want to be told.
    """
    row = _row(job, type=type, now=now, data=data, actor=actor_of(conn))
    is_heard = conn.execute(_INSERT, row | {"heard_by": job.project_id}).scalar_one()
    if type in SENT and (is_heard or job.webhook_url is not None):
        owing.owe(conn, job, event_id=row["id"], type=type, now=now)


def append_all(conn: Connection, told: Sequence[tuple[Job, Actor | None]], *, type: str, now: datetime) -> None:  # noqa: A002
    """Write the same fact about several jobs, as `append` does about one, each in the name of who is beside it."""
    rows = [
        _row(job, type=type, now=now, data={}, actor=None if actor is None else actor.facts()) for job, actor in told
    ]
    conn.execute(events.insert(), rows)
    heard = owing.heard_among(conn, {job.project_id for job, _ in told})
    for (job, _), row in zip(told, rows, strict=True):
        if type in SENT and (job.project_id in heard or job.webhook_url is not None):
            owing.owe(conn, job, event_id=row["id"], type=type, now=now)


def _row(
    job: Job,
    *,
    type: str,  # noqa: A002
    now: datetime,
    data: dict[str, Any],
    actor: dict[str, Any] | None,
) -> dict[str, Any]:
    return {
        "job_id": job.id,
        "n": job.event_count,
        "id": new_id("evt"),
        "project_id": job.project_id,
        "type": type,
        "state": job.state,
        "data": data,
        "created_at": now,
        "actor": actor,
    }


_INSERT = events.insert().returning(owing.IS_HEARD)


def of_job(conn: Connection, job_id: str, *, after: int = 0, limit: int = 100) -> list[Event]:
    """Return the job's events in order, those numbered above `after`."""
    query = sa.select(*COLUMNS).where(events.c.job_id == job_id, events.c.n > after).order_by(events.c.n).limit(limit)
    return [as_event(row) for row in conn.execute(query)]


def number_of(conn: Connection, job_id: str, event_id: str) -> int | None:
    """Return the number of the job's event with this id; None if the job has none such."""
    query = sa.select(events.c.n).where(events.c.id == event_id, events.c.job_id == job_id)
    number: int | None = conn.execute(query).scalar_one_or_none()
    return number


def scrub(conn: Connection, job_id: str) -> None:
    """Forget the details of a deleted job's events; that they happened, and who caused them, stays."""
    conn.execute(events.update().where(events.c.job_id == job_id).values(data={}))


def as_event(row: Any) -> Event:
    """Return the event of a row that has its COLUMNS."""
    found = {column.name: getattr(row, column.name) for column in COLUMNS}
    return Event(**found | {"state": JobState(row.state)})
