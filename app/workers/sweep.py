"""Tidy up: what a dead worker left, jobs that came too late, content whose time is over; and say that we live."""

from datetime import timedelta

import structlog

from app.db import claims, deployment, endings, files, jobs, submissions
from app.db.engine import Connection, Database
from app.domain.errors import StorageFailed
from app.domain.states import JobState
from app.media.store import Store

log = structlog.get_logger()
BATCH = 100
UPLOAD_POSTPONED = timedelta(days=1)


class Sweeper:
    """Keeps the house in order. Everything here may be done twice or late without harm."""

    name = "sweep"
    topic: str | None = None

    def __init__(
        self,
        db: Database,
        store: Store,
        *,
        worker: str,
        retention: timedelta | None,
        interval_seconds: float = 5.0,
    ) -> None:
        self._db = db
        self._store = store
        self._worker = worker
        self._retention = retention
        self.interval_seconds = interval_seconds

    async def run_once(self) -> bool:
        """Do one round; True if a batch was full."""
        await self._db.write(lambda conn: deployment.beat(conn, self._worker, now=self._db.now(conn)))
        freed = await self._db.write(self._end_dead_submits)
        late = await self._db.write(self._fail_late_starts)
        stale = await self._expire_jobs() + await self._expire_files()
        return max(freed, late, stale) >= BATCH

    async def drain(self) -> None:
        await self._db.write(lambda conn: deployment.retire(conn, self._worker))

    def _end_dead_submits(self, conn: Connection) -> int:
        """Settle what a worker that let its lease run out had in hand, from the submission rows alone."""
        now = self._db.now(conn)
        dead = claims.expired_submits(conn, now=now, limit=BATCH)
        for job in dead:
            log.warning("lease_expired", job_id=job.id)
            submissions.settle(conn, job.id, now=now, lease_token=job.lease_token)
        return len(dead)

    def _fail_late_starts(self, conn: Connection) -> int:
        now = self._db.now(conn)
        late = claims.overdue_starts(conn, now=now, limit=BATCH)
        for job in late:
            jobs.advance(
                conn,
                job,
                to=JobState.FAILED,
                now=now,
                data={"code": "not_started_in_time"},
                error_code="not_started_in_time",
                error_message="The job could not be started within start_within_seconds. Nothing was bought.",
                billed=False,
                settled=True,
            )
        return len(late)

    async def _expire_jobs(self) -> int:
        if self._retention is None:
            return 0
        retention = self._retention

        def expire(conn: Connection) -> tuple[int, list[str]]:
            now = self._db.now(conn)
            old = endings.expired(conn, finished_before=now - retention, limit=BATCH)
            return len(old), [key for job in old for key in endings.scrub(conn, job, now=now)]

        count, keys = await self._db.write(expire)
        await self._delete(keys)
        return count

    async def _expire_files(self) -> int:
        def expire(conn: Connection) -> list[str]:
            now = self._db.now(conn)
            candidates = files.expired(conn, now=now, limit=BATCH)
            gone = files.postpone_used(conn, candidates, until=now + UPLOAD_POSTPONED)
            files.delete(conn, [file.id for file in gone])
            return [file.storage_key for file in gone]

        keys = await self._db.write(expire)
        await self._delete(keys)
        return len(keys)

    async def _delete(self, keys: list[str]) -> None:
        for key in keys:
            try:
                await self._store.delete(key)
            except StorageFailed as error:
                log.warning("object_not_deleted", key=key, error=str(error))
