"""Whose turn it is to check the ledger: one row, so that all replicas check as one, and restarts forget nothing."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db.tables import log_reader

LEASE = timedelta(hours=1)
"""After that long another may try: a check that failed, or whose worker died, is not waited for. Two at once are slow,
and book nothing twice."""
R = log_reader.c


def take(conn: Connection, *, now: datetime, every: timedelta) -> bool:
    """Take the check if it is due and nobody is at it. What lies ahead of a clock that was set back counts not."""
    is_due = sa.or_(R.ledger_checked_at.is_(None), R.ledger_checked_at <= now - every, R.ledger_checked_at > now)
    is_free = sa.or_(R.ledger_check_until.is_(None), R.ledger_check_until <= now, R.ledger_check_until > now + LEASE)
    taken = log_reader.update().where(is_due, is_free).values(ledger_check_until=now + LEASE)
    return conn.execute(taken).rowcount == 1


def finish(conn: Connection, *, now: datetime) -> None:
    """The check came to its end."""
    conn.execute(log_reader.update().values(ledger_checked_at=now, ledger_check_until=None))
