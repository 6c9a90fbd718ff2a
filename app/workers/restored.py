"""Notice, before anything is bought, that the database is older than what was bought: it was restored from a backup."""

import asyncio
from datetime import datetime, timedelta

import structlog

from app.db import restoring
from app.db.engine import Connection, Database
from app.domain.errors import StorageFailed
from app.workers.marks import Mark, Marks

log = structlog.get_logger()
LOOK_SECONDS = 3.0


class RestoreWatch:
    """Looks once, as soon as the storage answers. Until then nothing is submitted."""

    def __init__(self, db: Database, marks: Marks, *, window_seconds: float) -> None:
        self._db = db
        self._marks = marks
        self._window = timedelta(seconds=window_seconds)
        self._looked = False

    async def has_looked(self) -> bool:
        """Tell whether it is known that the database remembers every purchase, or that what it forgot is parked."""
        if not self._looked:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    mark = await self._marks.highest()
            except (StorageFailed, TimeoutError) as error:
                log.warning("marks_not_read", error=str(error) or "the storage did not answer")
                return False
            if mark is not None:
                await self._db.write(lambda conn: self._compare(conn, mark))
            self._looked = True
            await self._forget_old_marks()
        return True

    async def _forget_old_marks(self) -> None:
        """Every start leaves a mark behind; keep those of the last day. Another start does what this one cannot."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._marks.forget_old()
        except (StorageFailed, TimeoutError) as error:
            log.info("old_marks_not_deleted", error=str(error) or "the storage did not answer")

    def _compare(self, conn: Connection, mark: Mark) -> None:
        known = restoring.last_submission(conn)
        if known >= mark.submission:
            return
        now = self._db.now(conn)
        since = restoring.newest_moment(conn) or now
        parked = restoring.park(conn, since=since, until=self._until(mark, now=now))
        restoring.raise_submissions(conn, above=mark.submission)
        log.error("restored_database", known=known, sent=mark.submission, since=since.isoformat(), parked=parked)

    def _until(self, mark: Mark, *, now: datetime) -> datetime:
        """Return when a read of the log will show whatever was bought: long after the last submission left."""
        return min(mark.at, now) + self._window
