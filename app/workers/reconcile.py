"""Read the upstream's usage log: adopt what was bought, learn what was not, and never buy to find out."""

import asyncio
from collections import defaultdict
from datetime import timedelta
from functools import partial

import structlog

from app.db import learning, log_reader, resolving
from app.db.engine import Connection, Database
from app.db.log_reader import LogRead
from app.db.signals import RECONCILE
from app.domain.errors import Conflict, GenerationUnknown, UpstreamFailure
from app.domain.job import Job
from app.domain.usage_log import LoggedRequest, own_attempt, same_model
from app.upstream.client import UpstreamClient
from app.upstream.usage_log import PAGE_ROWS
from app.workers.loop import UpstreamDuty

log = structlog.get_logger()
MOST_PAGES = 2000
GROUP = 50
"""How many requests' rows are learned in one transaction."""
PACE_PAUSE_SECONDS = 2.0
GAPS = 3
"""A pause between two reads of up to so many intervals still counts as watching."""


class Reconciler(UpstreamDuty):
    """The one who asks what became of lost submissions. Any number of replicas read as one."""

    name = "reconcile"
    topic = RECONCILE
    may_be_cut = True

    def __init__(
        self,
        db: Database,
        upstream: UpstreamClient,
        *,
        worker: str,
        deployment: str,
        window_seconds: float,
        horizon_seconds: float,
        interval_seconds: float,
    ) -> None:
        super().__init__(db, upstream)
        self._worker = worker
        self._deployment = deployment
        self._window = timedelta(seconds=window_seconds)
        self._horizon = timedelta(seconds=horizon_seconds)
        self.interval_seconds = interval_seconds

    async def run_once(self) -> bool:
        """Read the log if something needs it, and act on what it says."""
        if await self._db.read(self._due) is None:
            return False
        read = await self._db.write(self._claim)
        if read is None:
            return False
        try:
            await self._reconcile(read)
        finally:
            await self._db.write(lambda conn: log_reader.end_read(conn, reader=self._worker))
        return False

    def _due(self, conn: Connection) -> LogRead | None:
        return log_reader.due_read(conn, now=self._db.now(conn), look_back=self._window)

    def _claim(self, conn: Connection) -> LogRead | None:
        return log_reader.claim_read(
            conn,
            reader=self._worker,
            now=self._db.now(conn),
            look_back=self._window,
            interval=timedelta(seconds=self.interval_seconds),
        )

    async def _reconcile(self, read: LogRead) -> None:
        try:
            rows = await self._rows(read)
        except UpstreamFailure as failure:
            # It proves nothing, and counts for nothing.
            log.warning("usage_log_not_read", error=failure.message)
            return
        if rows is None:
            return
        await self._learn(rows)
        for job, _ in await self._db.read(log_reader.attachments):
            await self._judge(job, rows)
        await self._db.write(partial(self._conclude, read=read))

    async def _rows(self, read: LogRead) -> list[LoggedRequest] | None:
        """Return every row of the read; None if it did not come to its end."""
        rows: list[LoggedRequest] = []
        for number in range(MOST_PAGES):
            if not await self._may_read():
                return None
            page = await self._upstream.log_page(start=read.start, end=read.end, offset=number * PAGE_ROWS)
            rows += page.rows
            if not page.has_more:
                return rows
        log.error("usage_log_too_long", pages=MOST_PAGES)
        return None

    async def _may_read(self) -> bool:
        """Wait for our turn within the upstream's limit; False if another replica took the reading over."""
        while True:
            turn = await self._db.write(
                lambda conn: log_reader.may_read_page(conn, reader=self._worker, now=self._db.now(conn))
            )
            if turn is not False:
                return turn is True
            await asyncio.sleep(PACE_PAUSE_SECONDS)

    async def _learn(self, rows: list[LoggedRequest]) -> None:
        by_request: dict[str, list[LoggedRequest]] = defaultdict(list)
        for row in rows:
            if own_attempt(row.request_id, deployment=self._deployment) is not None:
                by_request[row.request_id].append(row)
        requests = list(by_request.values())
        for begin in range(0, len(requests), GROUP):
            await self._db.write(partial(self._learn_group, group=requests[begin : begin + GROUP]))

    def _learn_group(self, conn: Connection, *, group: list[list[LoggedRequest]]) -> None:
        now = self._db.now(conn)
        for rows in group:
            lesson = learning.learn(conn, rows, deployment=self._deployment, now=now)
            if lesson in ("adopted", "not_bought"):
                log.warning("submission_reconciled", request_id=rows[0].request_id, lesson=lesson)

    async def _judge(self, job: Job, rows: list[LoggedRequest]) -> None:
        """Check an operator's claim that a generation is this job's, and attach it or say why not."""
        assert job.attachment is not None
        generation_id = str(job.attachment["generation_id"])
        named = [row for row in rows if row.inference_id == generation_id]
        try:
            reason = self._objection(job, named) if named else await self._unknown(job, generation_id)
            if reason is None:
                await self._db.write(lambda conn: resolving.attach(conn, job.id, now=self._db.now(conn)))
                return
        except Conflict as conflict:
            reason = conflict.message
        except UpstreamFailure as failure:
            log.warning("claim_not_checked_yet", job_id=job.id, error=failure.message)
            return
        refusal = reason
        await self._db.write(lambda conn: resolving.refuse_claim(conn, job.id, reason=refusal, now=self._db.now(conn)))

    def _objection(self, job: Job, named: list[LoggedRequest]) -> str | None:
        """Return what the log says against the claim; None if nothing."""
        for row in named:
            attempt = own_attempt(row.request_id, deployment=self._deployment)
            if attempt is not None and attempt[0] != job.id:
                return f"The upstream's log says that this generation was bought for {attempt[0]}."
            if row.model and not same_model(job.model, row.model):
                return f"The upstream's log says that this generation was made by {row.model}, not by {job.model}."
        if all(row.succeeded is False for row in named):
            return "The upstream's log lists this generation as failed: nothing was bought. Resolve it as not created."
        return None

    async def _unknown(self, job: Job, generation_id: str) -> str | None:
        """The log does not show it (yet): at least the upstream must know it."""
        try:
            await self._upstream.fetch(path=job.upstream_path, generation_id=generation_id)
        except GenerationUnknown:
            return "The upstream knows no such generation. Check the id."
        return None

    def _conclude(self, conn: Connection, *, read: LogRead) -> None:
        learning.conclude(
            conn,
            read,
            key_print=self._upstream.key_print,
            now=self._db.now(conn),
            window=self._window,
            longest_gap=timedelta(seconds=GAPS * self.interval_seconds),
            horizon=self._horizon,
        )
