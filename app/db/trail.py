"""What was done by whom, in order of time: events of jobs that somebody caused, and acts that concern no job."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db.acts import acts
from app.db.tables import events


@dataclass(frozen=True, slots=True)
class Deed:
    """One change and who made it, as `Actor.facts` has it."""

    id: str
    at: datetime
    action: str
    target: str
    project_id: str | None
    actor: dict[str, Any]
    data: dict[str, Any]


def read(
    conn: Connection,
    *,
    limit: int,
    project_id: str | None = None,
    job_id: str | None = None,
    since: datetime | None = None,
) -> list[Deed]:
    """Return the newest `limit` deeds, oldest first. With `job_id`, only those that concern this job."""
    # By their ids, which sort by time and have an index.
    of_jobs = (
        sa.select(
            events.c.id,
            events.c.created_at,
            events.c.type,
            events.c.job_id,
            events.c.project_id,
            events.c.actor,
            events.c.data,
        )
        .where(events.c.actor.is_not(sa.null()))
        .order_by(events.c.id.desc())
    )
    others = sa.select(
        acts.c.id, acts.c.created_at, acts.c.action, acts.c.target, acts.c.project_id, acts.c.actor, acts.c.data
    ).order_by(acts.c.id.desc())
    if project_id is not None:
        of_jobs = of_jobs.where(events.c.project_id == project_id)
        others = others.where(acts.c.project_id == project_id)
    if job_id is not None:
        of_jobs = of_jobs.where(events.c.job_id == job_id)
        others = others.where(acts.c.target == job_id)
    if since is not None:
        of_jobs = of_jobs.where(events.c.created_at >= since)
        others = others.where(acts.c.created_at >= since)
    found = [Deed(*row) for query in (of_jobs, others) for row in conn.execute(query.limit(limit))]
    # Of what one transaction wrote, the ids say what came first, but for the kind that they begin with.
    return sorted(found, key=lambda deed: (deed.at, deed.id.partition("_")[2]))[-limit:]
