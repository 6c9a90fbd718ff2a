"""Ask after generations when their time has come, and move the jobs whose answer is final."""

import asyncio
from datetime import datetime, timedelta

import structlog

from app import metrics
from app.db import claims, durations, outcomes
from app.db.engine import Connection, Database
from app.db.signals import POLL
from app.domain.errors import FetchFailed, GenerationUnknown, Refused
from app.domain.job import Job
from app.domain.pacing import seconds_to_next_poll
from app.upstream.client import UpstreamClient
from app.upstream.wire import Generation
from app.workers.breaker import Breaker
from app.workers.loop import Crew

log = structlog.get_logger()
BATCH = 100
STOP_SECONDS = 2.0


class Poller:
    """Watches generations. A poll is a snooze, never an attempt: nothing here can fail a job but its own answer."""

    name = "poll"
    topic: str | None = POLL
    may_be_cut = False

    def __init__(
        self,
        db: Database,
        upstream: UpstreamClient,
        *,
        fixed_interval_seconds: float | None = None,
        horizon_seconds: float = 24 * 3600,
        empty_patience_seconds: float = 600,
        concurrency: int = 32,
        interval_seconds: float = 0.5,
    ) -> None:
        self._db = db
        self._upstream = upstream
        self._fixed = fixed_interval_seconds
        self._horizon = timedelta(seconds=horizon_seconds)
        self._empty_patience = timedelta(seconds=empty_patience_seconds)
        self._slots = asyncio.Semaphore(concurrency)
        self.interval_seconds = interval_seconds
        self.crew = Crew()
        self.breaker = Breaker()
        self._asking: set[str] = set()

    async def run_once(self) -> bool:
        """Book the next poll of every job that is due and ask after it; of one alone while the upstream fails."""
        batch = self.breaker.room(BATCH)
        if batch == 0:
            return False
        due, more = await self._db.write(lambda conn: self._claim(conn, batch))
        for job, late in due:
            if job.id not in self._asking:
                self._asking.add(job.id)
                self.crew.start(self._poll(job, late=late), name="poll", job_id=job.id)
        return more

    async def drain(self) -> None:
        """Hear the answers that are nearly there; the others are asked for again by whoever comes next."""
        await self.crew.cut_short(after_seconds=STOP_SECONDS)

    def _claim(self, conn: Connection, batch: int) -> tuple[list[tuple[Job, bool]], bool]:
        """Book the next poll of all that are due.

        Return those to ask after, each with whether it is past its horizon, and whether there may be more.
        A generation that has just begun is only booked: its first poll comes when it may be done.
        """
        now = self._db.now(conn)
        due = claims.due_polls(conn, now=now, limit=batch)
        if not due:
            return [], False
        learned = durations.read_all(conn)
        elapsed = {job.id: now - (job.started_at or now) for job in due}
        next_polls = {}
        for job in due:
            waited = max(0.0, elapsed[job.id].total_seconds())  # a clock that was set back tells of the future
            pause = seconds_to_next_poll(waited, learned.of(job.model, job.input), fixed=self._fixed)
            next_polls[job.id] = now + timedelta(seconds=pause)
        claims.book_polls(conn, next_polls, now=now)
        begun = {job.id for job in due if job.due_at == job.started_at}
        asked = [(job, elapsed[job.id] > self._horizon) for job in due if job.id not in begun]
        return asked, len(due) == BATCH

    async def _poll(self, job: Job, *, late: bool) -> None:
        try:
            generation = await self._ask(job)
        except (FetchFailed, Refused) as failure:
            # Nobody answered: that says nothing about the generation, however late it is.
            log.info("poll_unanswered", job_id=job.id, error=failure.message)
            self.breaker.failed(retry_after_seconds=failure.retry_after_seconds)
            return
        finally:
            self._asking.discard(job.id)
        self.breaker.succeeded()
        if generation is not None and generation.status != "pending":
            log.info("generation_ended", job_id=job.id, status=generation.status, error=generation.error_message)
            noticed_at = await self._db.write(lambda conn: self._settle(conn, job, generation))
            if (asked_at := job.polled_at or job.started_at) is not None:
                metrics.NOTICE_SECONDS.observe(max(0.0, (noticed_at - asked_at).total_seconds()))
        elif late:
            await self._db.write(lambda conn: outcomes.lost(conn, job, now=self._db.now(conn)))

    async def _ask(self, job: Job) -> Generation | None:
        """Return what the upstream says; None if it does not know the generation (yet, or any more)."""
        async with self._slots:
            try:
                return await self._upstream.fetch(path=job.upstream_path, generation_id=job.generation_id or "")
            except GenerationUnknown:
                return None

    def _settle(self, conn: Connection, job: Job, generation: Generation) -> datetime:
        """Move the job by its final answer; return the time."""
        now = self._db.now(conn)
        credits_used = generation.credits
        if generation.status == "failed":
            code, message = generation.error_code or "upstream_failed", generation.error_message
            outcomes.generation_failed(
                conn,
                job,
                code=code,
                message=message or "The upstream failed without saying why.",
                credits_used=credits_used,
                now=now,
            )
        elif generation.video_url:
            outcomes.completed(conn, job, url=generation.video_url, credits_used=credits_used, now=now)
        else:
            outcomes.completed_empty(conn, job, credits_used=credits_used, patience=self._empty_patience, now=now)
        return now
