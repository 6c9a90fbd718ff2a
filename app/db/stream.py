"""The stream of all events: a number for each, given in the order in which their transactions committed.

A database's own sequences number rows as they are written, and who writes first may commit last: a reader that has
seen the later number would never look for the earlier. So events are written without one, and whoever wants to read
numbers those that are committed by then, one reader at a time. Events of one job stay in the job's own order.
"""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db.events import COLUMNS, as_event
from app.db.jobs import Owner
from app.db.tables import events, jobs
from app.domain.job import Event

BATCH = 5_000
T = events.c


@dataclass(frozen=True, slots=True)
class Numbered:
    """An event with its place in the stream, and the subject of its job."""

    seq: int
    subject: str | None
    event: Event


def assign(conn: Connection) -> int:
    """Number the committed events that have no number yet, at most a batch; return how many.

    On Postgres this waits for others that do it: what was committed before the call has its number after the commit.
    """
    if conn.dialect.name != "sqlite":
        conn.execute(_LOCK)
    if conn.execute(_UNNUMBERED).first() is None:
        return 0
    # A statement of its own, after the lock: only so it sees the numbers that the one before has given.
    return conn.execute(_ASSIGN, {"base": last(conn), "most": BATCH}).rowcount


def last(conn: Connection) -> int:
    """Return the highest number given; 0 before the first."""
    number: int = conn.execute(_LAST).scalar_one()
    return number


def since(conn: Connection, seq: int, *, owner: Owner, limit: int) -> list[Numbered]:
    """Return the owner's numbered events after `seq`, in order; also those of jobs deleted since, without details."""
    query = _READ.where(T.seq > seq, *_of(owner)).order_by(T.seq).limit(limit)
    return [Numbered(row.seq, row.subject, as_event(row)) for row in conn.execute(query)]


def place_of(conn: Connection, event_id: str, *, owner: Owner) -> int | None:
    """Return the number of the owner's event with this id; None if there is none such, or it has no number yet."""
    row = conn.execute(_READ.where(T.id == event_id, *_of(owner))).one_or_none()
    return None if row is None else row.seq


def _of(owner: Owner) -> list[sa.ColumnElement[bool]]:
    """An event carries its job's project, by which the stream is indexed."""
    theirs = owner.clauses(with_deleted=True)
    return theirs if owner.project_id is None else [T.project_id == owner.project_id, *theirs]


def _assign() -> sa.Update:
    """A job's later event is never before its earlier one, whatever the clocks of those who wrote them said."""
    reached = sa.func.max(T.created_at).over(partition_by=T.job_id, order_by=T.n).label("reached")
    waiting = sa.select(T.job_id, T.n, reached).where(T.seq.is_(None)).subquery().c
    place = sa.func.row_number().over(order_by=(waiting.reached, waiting.job_id, waiting.n)).label("place")
    placed = sa.select(waiting.job_id, waiting.n, place).subquery().c
    return (
        events.update()
        .where(T.job_id == placed.job_id, T.n == placed.n, placed.place <= sa.bindparam("most", type_=sa.BigInteger))
        .values(seq=sa.bindparam("base", type_=sa.BigInteger) + placed.place)
    )


_LOCK = sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext("reelay stream")))
_UNNUMBERED = sa.select(T.n).where(T.seq.is_(None)).limit(1)
_LAST = sa.select(sa.func.coalesce(sa.func.max(T.seq), 0))
_ASSIGN = _assign()
_READ = sa.select(*COLUMNS, T.seq, jobs.c.subject).join(jobs, jobs.c.id == T.job_id)
