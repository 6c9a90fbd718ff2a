"""What the doctor asks a database: questions that change nothing."""

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db.engine import Database
from app.db.overview import SILENT_AFTER
from app.db.tables import deployment, workers


def mode(conn: Connection) -> str | None:
    """Return `sandbox` or `real`, None before the first start."""
    return conn.execute(sa.select(deployment.c.mode)).scalar_one_or_none()


def journal(conn: Connection) -> str:
    """Return SQLite's journal mode; `wal` is what we ask for, and what some file systems refuse."""
    return str(conn.exec_driver_sql("PRAGMA journal_mode").scalar_one())


def worker_hosts(conn: Connection, db: Database) -> set[str]:
    """Return the names of the hosts whose workers gave a sign of life lately; a worker's id begins with its host."""
    recent = workers.c.beat_at > db.now(conn) - SILENT_AFTER
    return {id_.partition(":")[0] for id_ in conn.execute(sa.select(workers.c.id).where(recent)).scalars()}
