"""Which deliveries an event owes: written in its own transaction, so that none is forgotten and none sent in vain."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db.signals import DELIVER, announce
from app.db.tables import deliveries, webhooks
from app.domain.ids import new_id
from app.domain.job import Job
from app.domain.moments import moment_of
from app.domain.webhooks import Delivery

T = webhooks.c
_ENABLED = (T.url.is_not(None), T.disabled_at.is_(None))

IS_HEARD = sa.exists().where(T.project_id == sa.bindparam("heard_by"), *_ENABLED).label("is_heard")
"""Whether a project has an endpoint: returned by the insert of an event, it costs no statement of its own."""


def heard_among(conn: Connection, projects: Collection[str]) -> set[str]:
    """Return those of the projects that have an endpoint."""
    return set(conn.execute(_HEARD_AMONG, {"projects": sorted(projects)}).scalars())


def owe(conn: Connection, job: Job, *, event_id: str, type: str, now: datetime) -> None:  # noqa: A002
    """Write what the event owes to the project's endpoints and to the job's own URL."""
    moment = moment_of(job)
    owed = []
    # On Postgres the rows stay until the commit: one that were deleted meanwhile would fail the whole change.
    for hook in conn.execute(_HEARING, {"project": job.project_id}):
        if hook.url is None:
            is_wanted = job.webhook_url is not None
        else:
            is_wanted = (hook.events is None or type in hook.events) and hook.subject in (None, job.subject)
        if is_wanted:
            url = job.webhook_url if hook.url is None else None
            owed.append(row(hook.id, event_id=event_id, type=type, at=now, job=job, moment=moment, url=url))
    if owed:
        conn.execute(deliveries.insert(), owed)
        announce(conn, DELIVER)


def row(
    webhook_id: str,
    *,
    event_id: str,
    type: str,  # noqa: A002
    at: datetime,
    job: Job | None = None,
    moment: dict[str, Any] | None = None,
    url: str | None = None,
) -> dict[str, Any]:
    """Return the row of a delivery that is owed now."""
    return {
        "id": new_id("dlv"),
        "webhook_id": webhook_id,
        "url": url,
        "event_id": event_id,
        "event_type": type,
        "event_at": at,
        "job_id": None if job is None else job.id,
        "subject": None if job is None else job.subject,
        "moment": moment or {},
        "state": Delivery.OWED,
        "tries": 0,
        "attempts": 0,
        "due_at": at,
    }


_HEARD_AMONG = sa.select(T.project_id).where(T.project_id.in_(sa.bindparam("projects", expanding=True)), *_ENABLED)
_HEARING = (
    sa.select(T.id, T.url, T.events, T.subject)
    .where(T.project_id == sa.bindparam("project"), T.disabled_at.is_(None))
    .order_by(T.id)
    .with_for_update(read=True, key_share=True)
)
