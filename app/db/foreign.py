"""Notice what other processes commit to the SQLite file: short commands write beside the service without a signal."""

import asyncio
import time

import structlog

from app.db.engine import Connection, Database
from app.domain.errors import Unavailable

log = structlog.get_logger()
LOOK_SECONDS = 0.05
VOUCHED_SECONDS = 2.0
"""How long one look vouches for the file: a writer that is busy for longer keeps the next one waiting."""


async def watch(db: Database) -> None:
    """Wake everybody when somebody else has written. Runs until canceled; looks while it matters to somebody."""
    seen: tuple[int, int] | None = None
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if db.signals.wanted:
            asked_at = time.monotonic()
            try:
                found = await db.write(_commits_of_others)
            except Unavailable as error:
                log.warning("foreign_commits_unknown", reason=str(error))
                continue
            if found != seen:
                seen = found
                db.signals.wake_all()
            db.signals.vouch(seconds=VOUCHED_SECONDS - (time.monotonic() - asked_at))


def _commits_of_others(conn: Connection) -> tuple[int, int]:
    """Return what is different after a commit over another connection than this, the writer's own."""
    version: int = conn.exec_driver_sql("PRAGMA data_version").scalar_one()
    return id(conn.connection.driver_connection), version
