"""Run duties until told to stop: run_once, then sleep until woken or until the interval has passed."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

import structlog

from app import metrics
from app.db.engine import Database
from app.db.signals import Signals
from app.upstream.client import UpstreamClient

log = structlog.get_logger()
LONGEST_PAUSE_SECONDS = 30.0
CUT_SECONDS = 1.0
REST_SECONDS = 0.05
"""Wake-ups within this time are one: a thousand new jobs need no thousand looks at the queue."""


class Duty(ABC):
    """One kind of work in the back room."""

    name: str
    interval_seconds: float
    """The safety net: how long a missed wake-up may delay work."""
    topic: str | None = None
    """What wakes the duty at once."""
    may_be_cut = False
    """Whether a beat may be cut short when the worker stops: it only reads, or can simply be done again."""

    @abstractmethod
    async def run_once(self) -> bool:
        """Take what is due and start it; True if there may be more at once."""

    async def drain(self) -> None:  # noqa: B027  # most duties start nothing that outlasts a beat
        """Wait for what was started."""


class UpstreamDuty(Duty):
    """A duty that asks the upstream, while no transaction of its own is open."""

    def __init__(self, db: Database, upstream: UpstreamClient) -> None:
        self._db = db
        self._upstream = upstream


class Crew:
    """The tasks that a duty has started. Each leaves its row settled, given back, or due again."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, None], *, name: str, **about: str | None) -> None:
        """Start the work; every line that is logged in it says what it is `about`, such as `job_id`."""
        task = asyncio.create_task(self._guarded(work, name, about))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def cut_short(self, *, after_seconds: float) -> None:
        """Wait a moment, then cancel what still runs. Only for work that another worker can simply do again."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=after_seconds)
        for task in self._tasks:
            task.cancel()
        await self.drain()

    @staticmethod
    async def _guarded(work: Coroutine[Any, Any, None], name: str, about: dict[str, str | None]) -> None:
        structlog.contextvars.bind_contextvars(**about)  # of this task alone
        try:
            await work
        except Exception:
            # The row is leased or due again: the next beat or the sweep takes it up. The loop must live.
            log.exception("work_failed", work=name)


async def run_all(duties: Sequence[Duty], *, signals: Signals, stop: asyncio.Event) -> None:
    """Run every duty until `stop` is set, then wait for what they started."""
    async with asyncio.TaskGroup() as group:
        for duty in duties:
            group.create_task(_run(duty, signals=signals, stop=stop), name=duty.name)


async def _run(duty: Duty, *, signals: Signals, stop: asyncio.Event) -> None:
    failures = 0
    with signals.listen(duty.topic or f"idle:{duty.name}") as woken:
        while not stop.is_set():
            woken.clear()
            try:
                more = await _beat(duty, stop=stop)
                failures = 0
            except Exception as error:  # noqa: BLE001  # one bad beat must not end the duty
                failures += 1
                more = False
                metrics.DUTY_FAILURES.labels(duty.name).inc()
                log.warning("duty_failed", duty=duty.name, error=str(error), failures=failures)
            pause = min(LONGEST_PAUSE_SECONDS, 0.5 * 2 ** min(failures, 10)) if failures else duty.interval_seconds
            if not more:
                await _first_of(woken, stop, timeout=pause)
                await asyncio.sleep(REST_SECONDS)
    try:
        await duty.drain()
    except Exception as error:  # noqa: BLE001  # it must not cut off what the other duties wait for
        log.warning("drain_failed", duty=duty.name, error=str(error))


async def _beat(duty: Duty, *, stop: asyncio.Event) -> bool:
    """Run one beat; one that may be cut ends soon after `stop`, even if it waits for somebody who never answers."""
    beat = asyncio.create_task(duty.run_once(), name=duty.name)
    try:
        if duty.may_be_cut:
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait({beat, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            done, _ = await asyncio.wait({beat}, timeout=CUT_SECONDS)
            if not done:
                return False
        return await beat
    finally:
        beat.cancel()
        await asyncio.wait({beat})


async def _first_of(*events: asyncio.Event, timeout: float) -> None:  # noqa: ASYNC109  # asyncio.wait takes it
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
