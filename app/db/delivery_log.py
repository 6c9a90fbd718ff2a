"""What was and is to be sent to an endpoint: shown, sent again, scrubbed, forgotten."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import owing, paging
from app.db.access import Key
from app.db.columns import one_of
from app.db.deliveries import Attempt, Logged
from app.db.signals import DELIVER, announce
from app.db.tables import attempts, deliveries, webhooks
from app.db.webhooks import Webhook
from app.domain.errors import Conflict, NotFound
from app.domain.ids import new_id
from app.domain.moments import scrubbed
from app.domain.webhooks import TEST, Delivery

A, T = attempts.c, deliveries.c
KEPT = timedelta(days=30)
"""How long a delivery is listed after its end."""


def page(
    conn: Connection, key: Key, hook: Webhook, *, limit: int, after: str | None = None
) -> tuple[list[Logged], bool]:
    """Return the endpoint's newest deliveries that the key may see, and whether there are more."""
    theirs = _within(key, hook)
    query = sa.select(deliveries).where(*theirs)
    found, has_more = paging.page(conn, query, by=T.id, limit=limit, after=after, among=theirs)
    return _logged(conn, found), has_more


@dataclass(frozen=True, slots=True)
class Filed:
    """A delivery among those of all projects: whose it is, and where it goes."""

    logged: Logged
    project_id: str
    webhook_id: str
    url: str


def page_of_all(
    conn: Connection,
    *,
    state: Delivery | None = None,
    project_id: str | None = None,
    limit: int,
    after: str | None = None,
) -> tuple[list[Filed], bool]:
    """Return the newest deliveries of every project, or one's, in any state or one, and whether there are more."""
    query = sa.select(deliveries)
    if state is not None:
        query = query.where(one_of(T.state, [state]))
    if project_id is not None:
        query = query.where(T.webhook_id.in_(sa.select(webhooks.c.id).where(webhooks.c.project_id == project_id)))
    found, has_more = paging.page(conn, query, by=T.id, limit=limit, after=after)
    return _filed(conn, found), has_more


def filed(conn: Connection, delivery_id: str) -> Filed:
    """Return a delivery of any project; raise NotFound."""
    rows = conn.execute(sa.select(deliveries).where(T.id == delivery_id)).all()
    if not rows:
        raise NotFound(f"There is no delivery {delivery_id[:80]!r}. GET /v1/admin/deliveries for the ids.")
    [found] = _filed(conn, rows)
    return found


def _filed(conn: Connection, rows: Sequence[Any]) -> list[Filed]:
    query = sa.select(webhooks.c.id, webhooks.c.project_id, webhooks.c.url)
    hooks = {hook.id: hook for hook in conn.execute(query.where(webhooks.c.id.in_({row.webhook_id for row in rows})))}
    told = zip(rows, _logged(conn, rows), strict=True)
    return [
        Filed(logged, hooks[row.webhook_id].project_id, row.webhook_id, row.url or hooks[row.webhook_id].url or "")
        for row, logged in told
    ]


def send_again(conn: Connection, key: Key, hook: Webhook, delivery_id: str, *, now: datetime) -> Logged:
    """Owe the delivery anew, with all its tries; raise NotFound, and Conflict where nothing is sent."""
    mine = [T.id == delivery_id, *_within(key, hook)]
    row = conn.execute(sa.select(deliveries).where(*mine).with_for_update()).one_or_none()
    if row is None:
        raise NotFound(f"There is no delivery {delivery_id[:80]!r} of this webhook. GET its deliveries for the ids.")
    if hook.disabled_at is not None and row.job_id is not None:
        message = 'The webhook is disabled. PATCH it with {"enabled": true} first.'
        raise Conflict(message, code="webhook_disabled")
    if row.lease_token is None or row.due_at <= now:
        fresh = {"state": Delivery.OWED, "tries": 0, "due_at": now, "finished_at": None, "lease_token": None}
        conn.execute(deliveries.update().where(T.id == row.id).values(**fresh))
        announce(conn, DELIVER)
    [logged] = _logged(conn, conn.execute(sa.select(deliveries).where(T.id == row.id)).all())
    return logged


def owe_test(conn: Connection, hook: Webhook, *, now: datetime) -> Logged:
    """Owe the endpoint an event that is about nothing."""
    row = owing.row(hook.id, event_id=new_id("evt"), type=TEST, at=now)
    conn.execute(deliveries.insert(), row)
    announce(conn, DELIVER)
    [logged] = _logged(conn, conn.execute(sa.select(deliveries).where(T.id == row["id"])).all())
    return logged


def scrub(conn: Connection, job_id: str) -> None:
    """Forget what deliveries hold of a deleted job; what is still owed tells its id and status."""
    for row in conn.execute(sa.select(T.id, T.moment).where(T.job_id == job_id)).all():
        conn.execute(deliveries.update().where(T.id == row.id).values(moment=scrubbed(row.moment)))


def forget_old(conn: Connection, *, now: datetime, limit: int) -> int:
    """Delete what ended long ago; return how many."""
    old = sa.select(T.id).where(T.finished_at <= now - KEPT).order_by(T.finished_at).limit(limit)
    doomed = list(conn.execute(old.with_for_update(skip_locked=True)).scalars())
    if doomed:
        conn.execute(attempts.delete().where(A.delivery_id.in_(doomed)))
        conn.execute(deliveries.delete().where(T.id.in_(doomed)))
    return len(doomed)


def _within(key: Key, hook: Webhook) -> list[sa.ColumnElement[bool]]:
    """The default's deliveries are of everybody's jobs: a subject sees its own."""
    mine: list[sa.ColumnElement[bool]] = [T.webhook_id == hook.id]
    return mine if key.subject is None or hook.url is not None else [*mine, T.subject == key.subject]


def _logged(conn: Connection, rows: Sequence[Any]) -> list[Logged]:
    tried: dict[str, list[Attempt]] = {row.id: [] for row in rows}
    query = sa.select(attempts).where(A.delivery_id.in_(list(tried))).order_by(A.delivery_id, A.n)
    for row in conn.execute(query) if tried else ():
        told = {name: getattr(row, name) for name in Attempt.__dataclass_fields__}
        tried[row.delivery_id].append(Attempt(**told))
    return [
        Logged(
            id=row.id,
            event_id=row.event_id,
            event_type=row.event_type,
            job_id=row.job_id,
            state=Delivery(row.state),
            due_at=row.due_at,
            event_at=row.event_at,
            finished_at=row.finished_at,
            attempts=tried[row.id],
        )
        for row in rows
    ]
