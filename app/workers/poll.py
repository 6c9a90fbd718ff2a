"""Ask after generations when their time has come, and move the jobs whose answer is final."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from app import metrics, tracing
from app.db import claims, durations, outcomes
from app.db.engine import Connection, Database
from app.db.signals import POLL
from app.db.together import Together
from app.domain.errors import FetchFailed, GenerationUnknown, Refused
from app.domain.job import Job
from app.domain.pacing import seconds_to_next_poll
from app.upstream.client import UpstreamClient
from app.upstream.wire import Generation
from app.workers.breaker import Breaker
from app.workers.loop import Crew, UpstreamDuty

log = structlog.get_logger()
BATCH = 50
AT_ONCE = 128
LONGEST_PAUSE_SECONDS = 0.5
STOP_SECONDS = 2.0


class Poller(UpstreamDuty):
    """Watches generations. A poll is a snooze, never an attempt: nothing here can fail a job but its own answer."""

    name = "poll"
    interval_seconds = LONGEST_PAUSE_SECONDS
    topic = POLL

    def __init__(
        self,
        db: Database,
        upstream: UpstreamClient,
        *,
        fixed_interval_seconds: float | None = None,
        horizon_seconds: float = 24 * 3600,
        empty_patience_seconds: float = 600,
    ) -> None:
        super().__init__(db, upstream)
        self._fixed = fixed_interval_seconds
        self._horizon = timedelta(seconds=horizon_seconds)
        self._empty_patience = timedelta(seconds=empty_patience_seconds)
        self.crew = Crew()
        self.breaker = Breaker()
        self._asking: set[str] = set()
        self._ended: Together[tuple[Job, Generation], None] = Together()

    async def run_once(self) -> bool:
        """Book the next poll of every job that is due and ask after it; of one alone while the upstream fails.

        Afterwards `interval_seconds` is the time until the next poll is due.
        """
        free = AT_ONCE - len(self._asking)
        if free <= 0:
            self.interval_seconds = 0.0  # answers come at any moment
            return False
        self.interval_seconds = LONGEST_PAUSE_SECONDS
        batch = min(self.breaker.room(BATCH), free)
        if batch == 0:
            return False
        due, pause = await self._db.write(lambda conn: self._claim(conn, batch))
        for job, late in due:
            if job.id not in self._asking:
                self._asking.add(job.id)
                self.crew.start(self._poll(job, late=late), name="poll", job_id=job.id)
        self.interval_seconds = min(pause, LONGEST_PAUSE_SECONDS)
        return pause == 0

    async def drain(self) -> None:
        """Hear the answers that are nearly there; the others are asked for again by whoever comes next."""
        await self.crew.cut_short(after_seconds=STOP_SECONDS)
        await self._ended.drain()

    def _claim(self, conn: Connection, batch: int) -> tuple[list[tuple[Job, bool]], float]:
        """Book the next poll of those that are due, as many as `batch`.

        Return those to ask after, each with whether it is past its horizon, and the seconds until the next is due.
        A generation that has just begun is only booked: its first poll comes when it may be done.
        """
        now = self._db.now(conn)
        due = claims.due_polls(conn, now=now, limit=batch)
        if due:
            learned = durations.read_all(conn)
            next_polls = {job.id: now + self._pause(job, learned, now=now) for job in due}
            claims.book_polls(conn, next_polls, now=now)
        begun = {job.id for job in due if job.due_at == job.started_at}
        asked = [(job, self._waited(job, now=now) > self._horizon) for job in due if job.id not in begun]
        next_at = now if len(due) == batch else claims.next_poll_at(conn)
        pause = math.inf if next_at is None else (next_at - now).total_seconds()
        return asked, max(0.0, pause)

    def _pause(self, job: Job, learned: durations.Learned, *, now: datetime) -> timedelta:
        waited = max(0.0, self._waited(job, now=now).total_seconds())  # a clock that was set back tells of the future
        return timedelta(seconds=seconds_to_next_poll(waited, learned.of(job.model, job.input), fixed=self._fixed))

    @staticmethod
    def _waited(job: Job, *, now: datetime) -> timedelta:
        return now - (job.started_at or now)

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
            await self._ended.add((job, generation), self._settle_all)
        elif late:
            lost = await self._db.write(lambda conn: outcomes.lost(conn, job, now=self._db.now(conn)))
            if lost is not None:
                _trace_end(job, outcome="lost", ended_at=lost.finished_at)

    async def _ask(self, job: Job) -> Generation | None:
        """Return what the upstream says; None if it does not know the generation (yet, or any more)."""
        try:
            return await self._upstream.fetch(path=job.upstream_path, generation_id=job.generation_id or "")
        except GenerationUnknown:
            return None

    async def _settle_all(self, ended: Sequence[tuple[Job, Generation]]) -> list[None]:
        """Move the jobs in one transaction, in the order of their ids; learn from all of them at once."""
        in_order = sorted(ended, key=lambda one: one[0].id)

        def settle(conn: Connection) -> tuple[datetime, set[str]]:
            now = self._db.now(conn)
            moved = [(self._settle(conn, job, generation, now=now), generation) for job, generation in in_order]
            took = [
                (job.model, job.input, (now - job.started_at).total_seconds())
                for job, generation in moved
                if job is not None and _has_video(generation) and job.started_at is not None and job.started_at < now
            ]
            durations.observe_all(conn, took)
            return now, {job.id for job, _ in moved if job is not None}

        noticed_at, moved_ids = await self._db.write(settle)
        for job, generation in ended:
            if job.id in moved_ids:
                _trace_end(job, outcome=generation.status, ended_at=noticed_at)
            if (asked_at := job.polled_at or job.started_at) is not None:
                metrics.NOTICE_SECONDS.observe(max(0.0, (noticed_at - asked_at).total_seconds()))
        return [None] * len(ended)

    def _settle(self, conn: Connection, job: Job, generation: Generation, *, now: datetime) -> Job | None:
        """Move the job by its final answer; return it if that was done."""
        credits_used = generation.credits
        if generation.status == "failed":
            code, message = generation.error_code or "upstream_failed", generation.error_message
            return outcomes.generation_failed(
                conn,
                job,
                code=code,
                message=message or "The upstream failed without saying why.",
                credits_used=credits_used,
                now=now,
            )
        if generation.video_url:
            return outcomes.completed(conn, job, url=generation.video_url, credits_used=credits_used, now=now)
        return outcomes.completed_empty(conn, job, credits_used=credits_used, patience=self._empty_patience, now=now)


def _trace_end(job: Job, *, outcome: str, ended_at: datetime | None) -> None:
    """Trace the generation as one span, from its beginning to its noticed end: a span for each poll would bury it."""
    if job.started_at is not None and ended_at is not None:
        facts = {"outcome": outcome, "polls": job.polls}
        tracing.passed("generate", job=job, began_at=job.started_at, ended_at=ended_at, **facts)


def _has_video(generation: Generation) -> bool:
    return generation.status != "failed" and bool(generation.video_url)
