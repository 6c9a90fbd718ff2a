"""How long each model's generations took, learned from the finished ones."""

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db.columns import insert_if_absent
from app.db.tables import durations
from app.domain.pacing import Durations


def read(conn: Connection, model: str, *, lock: bool = False) -> Durations:
    """Return what was learned of the model; the empty prior if nothing."""
    query = sa.select(durations.c.seen, durations.c.mean_log, durations.c.m2_log).where(durations.c.model == model)
    row = conn.execute(query.with_for_update() if lock else query).one_or_none()
    return Durations() if row is None else Durations(*row)


def read_all(conn: Connection) -> dict[str, Durations]:
    """Return what was learned of every model."""
    return {row.model: Durations(row.seen, row.mean_log, row.m2_log) for row in conn.execute(sa.select(durations))}


def observe(conn: Connection, model: str, seconds: float) -> None:
    """Add one finished generation of the model."""
    insert_if_absent(conn, durations, model=model, seen=0, mean_log=0.0, m2_log=0.0)
    grown = read(conn, model, lock=True).observed(seconds)
    conn.execute(
        durations.update()
        .where(durations.c.model == model)
        .values(seen=grown.seen, mean_log=grown.mean_log, m2_log=grown.m2_log)
    )
