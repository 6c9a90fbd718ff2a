"""Who acts in a transaction, so that its events say so; and the acts that concern no job.

An act is written once, by whoever is at the front, in the transaction of the change that it tells of.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db.columns import Json, UtcDateTime, metadata
from app.domain.actor import Actor
from app.domain.ids import new_id

T = TypeVar("T")
KEPT = timedelta(days=366)
Action = Literal[
    "delivery.sent_again",
    "file.deleted",
    "file.uploaded",
    "jobs.parked",
    "jobs.released",
    "key.created",
    "key.revoked",
    "ledger.corrected",
    "project.archived",
    "project.created",
    "project.limited",
    "project.opened",
    "token.minted",
    "token.revoked",
    "upstream.resumed",
    "webhook.changed",
    "webhook.created",
    "webhook.deleted",
    "webhook.disabled",
    "webhook.secret_rotated",
    "webhook.tested",
]

acts = sa.Table(
    "acts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("project_id", sa.Text),
    sa.Column("actor", Json, nullable=False),
    sa.Column("data", Json, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index("ix_acts_created_at", "created_at"),
)


@contextmanager
def acting(conn: Connection, actor: Actor | None) -> Iterator[None]:
    """Let what is written meanwhile be in the name of `actor`; None is the service itself."""
    info = conn.info  # a connection that was lost meanwhile would not give it any more
    info["actor"] = None if actor is None else actor.facts()
    try:
        yield
    finally:
        info.pop("actor", None)


def attributed(work: Callable[[Connection], T], actor: Actor | None) -> Callable[[Connection], T]:
    """Return `work` in the name of `actor`."""
    if actor is None:
        return work

    def run(conn: Connection) -> T:
        with acting(conn, actor):
            return work(conn)

    return run


def actor_of(conn: Connection) -> dict[str, Any] | None:
    """Return who acts in this transaction; None for the service itself."""
    facts: dict[str, Any] | None = conn.info.get("actor")
    return facts


def note(
    conn: Connection,
    action: Action,
    *,
    target: str,
    now: datetime,
    project_id: str | None = None,
    data: dict[str, Any] | None = None,
) -> None:
    """Write that the one who acts in this transaction did this to `target`; raise LookupError if nobody does."""
    actor = actor_of(conn)
    if actor is None:
        raise LookupError(f"{action} in nobody's name")
    row = {"id": new_id("act"), "action": action, "target": target, "project_id": project_id, "actor": actor}
    conn.execute(acts.insert(), row | {"data": data or {}, "created_at": now})


def forget_old(conn: Connection, *, now: datetime, limit: int) -> int:
    """Delete acts that were kept long enough; return how many."""
    old = acts.alias()
    query = sa.select(old.c.id).where(old.c.created_at <= now - KEPT).order_by(old.c.created_at).limit(limit)
    return conn.execute(acts.delete().where(acts.c.id.in_(query.with_for_update(skip_locked=True)))).rowcount
