"""Tidy up: what a dead worker left, jobs that came too late, content whose time is over; and say that we live."""

import time
from datetime import timedelta
from functools import partial

import structlog

from app.db import (
    acts,
    claims,
    clock,
    creations,
    delivery_log,
    deployment,
    endings,
    files,
    jobs,
    settling,
    stream,
    tokens,
)
from app.db.engine import Connection, Database
from app.domain.errors import StorageFailed
from app.domain.job import File
from app.domain.states import JobState
from app.media.store import Store
from app.workers.loop import Duty

log = structlog.get_logger()
BATCH = 100
LOG_SECONDS = 60.0
UPLOAD_POSTPONED = timedelta(days=1)


class Sweeper(Duty):
    """Keeps the house in order. Everything here may be done twice or late without harm."""

    name = "sweep"
    interval_seconds = 1.0
    may_be_cut = True

    def __init__(
        self,
        db: Database,
        store: Store,
        *,
        worker: str,
        retention: timedelta | None,
        lease_seconds: float = 60.0,
        tidy_every_seconds: float = 0.0,
    ) -> None:
        self._db = db
        self._store = store
        self._lease = timedelta(seconds=lease_seconds)
        self._worker = worker
        self._retention = retention
        self._tidy_every_seconds = tidy_every_seconds
        self._tidied: float | None = None
        self._log_emptied = time.monotonic()

    async def run_once(self) -> bool:
        """Do one round; True if a batch was full.

        What a dead worker held is looked for in every round, by two index look-ups: somebody waits for it. The rest
        can wait for a few rounds.
        """
        freed = await self._db.write(self._end_dead_submits)
        await self._db.write(self._settle_late_answers)
        if self._tidied is None or time.monotonic() - self._tidied >= self._tidy_every_seconds:
            self._tidied = time.monotonic() if (done := await self._tidy()) < BATCH else None
            freed = max(freed, done)
        return freed >= BATCH

    async def _tidy(self) -> int:
        """Say that we live, and clean up; return the size of the largest batch."""
        await self._db.write(lambda conn: deployment.beat(conn, self._worker, now=self._db.now(conn)))
        await self._db.write(self._pull_back)
        late = await self._db.write(self._fail_late_starts)
        stale = max(await self._expire_jobs(), await self._bury(), await self._expire_files())
        forgotten = max(await self._db.write(self._forget_creations), await self._db.write(self._forget_old))
        await self._db.write(stream.assign)
        await self._empty_log()
        return max(late, stale, forgotten)

    async def _empty_log(self) -> None:
        """Let nothing that was deleted linger in SQLite's write-ahead log."""
        if time.monotonic() - self._log_emptied >= LOG_SECONDS:
            self._log_emptied = time.monotonic()
            await self._db.empty_log()

    async def drain(self) -> None:
        await self._db.write(lambda conn: deployment.retire(conn, self._worker))

    def _pull_back(self, conn: Connection) -> None:
        """Let nothing wait for a clock that was set back."""
        now = self._db.now(conn)
        if found := clock.pull_back(conn, now=now, lease=self._lease):
            log.warning("clock_set_back", rows=found)

    def _end_dead_submits(self, conn: Connection) -> int:
        """Settle what a worker that let its lease run out had in hand, from the submission rows alone."""
        now = self._db.now(conn)
        dead = claims.expired_submits(conn, now=now, limit=BATCH)
        for job in dead:
            log.warning("lease_expired", job_id=job.id)
            settling.settle(conn, job.id, now=now, lease_token=job.lease_token)
        return len(dead)

    def _settle_late_answers(self, conn: Connection) -> int:
        """Move jobs whose answer was recorded after everybody had given up on them."""
        found = claims.answered_late(conn, limit=BATCH)
        for job in found:
            settling.settle(conn, job.id, now=self._db.now(conn), lease_token=None)
        return len(found)

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

        def scrub(conn: Connection) -> int:
            now = self._db.now(conn)
            return endings.scrub_expired(conn, finished_before=now - retention, now=now, limit=BATCH)

        return await self._db.write(scrub)

    def _forget_creations(self, conn: Connection) -> int:
        """Drop what is kept of requests only to know them again. Nearly every job has left such a row."""
        return creations.forget_expired(conn, now=self._db.now(conn), limit=10 * BATCH)

    def _forget_old(self, conn: Connection) -> int:
        now = self._db.now(conn)
        return max(
            tokens.forget_expired(conn, now=now, limit=BATCH),
            acts.forget_old(conn, now=now, limit=BATCH),
            delivery_log.forget_old(conn, now=now, limit=BATCH),
        )

    async def _bury(self) -> int:
        """Delete the videos of deleted jobs; a row names its bytes until they are gone."""
        gone = 0
        for remains in await self._db.read(lambda conn: endings.unburied(conn, limit=BATCH)):
            if await self._delete(remains.storage_keys):
                await self._db.write(partial(endings.buried, remains=remains))
                gone += 1
        return gone

    async def _expire_files(self) -> int:
        def condemn(conn: Connection) -> list[File]:
            now = self._db.now(conn)
            return files.condemn_expired(conn, now=now, keep_used_until=now + UPLOAD_POSTPONED, limit=BATCH)

        doomed = await self._db.write(condemn)
        gone = [file.id for file in doomed if await self._delete([file.storage_key])]
        await self._db.write(lambda conn: files.delete(conn, gone))
        return len(gone)

    async def _delete(self, keys: list[str]) -> bool:
        """Delete stored objects; False if one could not be, to be tried again in the next round."""
        try:
            for key in keys:
                await self._store.delete(key)
        except StorageFailed as error:
            log.warning("object_not_deleted", keys=keys, error=str(error))
            return False
        return True
