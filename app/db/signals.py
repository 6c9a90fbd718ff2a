"""Wake whoever waits for a change: workers with new work, requests that wait for a job.

A verb announces topics inside its transaction; they are heard only after the commit, in this process at once and,
on Postgres, in every other one by NOTIFY.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

SUBMIT, POLL, SAVE, RECONCILE = "work:submit", "work:poll", "work:save", "work:reconcile"
ANY_JOB = "job:"
"""Woken with every job's topic."""
DELIVER = "work:deliver"


def job_topic(job_id: str) -> str:
    return f"{ANY_JOB}{job_id}"


def announce(conn: Connection, *topics: str) -> None:
    """Note that `topics` changed; they are sent when the surrounding transaction commits."""
    conn.info.setdefault("topics", set()).update(topics)


def take_announced(conn: Connection) -> set[str]:
    """Return and forget what was announced on this connection."""
    topics: set[str] = conn.info.pop("topics", set())
    return topics


class Signals:
    """Topics and the events that wait for them. Lives on one event loop."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._listening: dict[str, set[asyncio.Event]] = {}
        self._heeding: list[Callable[[str | None], None]] = []
        self._whole_until = -math.inf
        self.wanted = False
        """Whether somebody remembers what only signals tell him to forget."""

    @property
    def are_whole(self) -> bool:
        """Whether every change is heard of, those of other processes too, as was proven a moment ago."""
        return self._clock() < self._whole_until

    def vouch(self, *, seconds: float) -> None:
        """Say that all that was committed up to now has been heard, and that it will be so for so long."""
        self._whole_until = self._clock() + seconds

    def doubt(self) -> None:
        """Say that something may be missed from now on."""
        self._whole_until = -math.inf

    def heed(self, told: Callable[[str | None], None]) -> None:
        """Call `told` with each topic that changes, and with None when anything may have changed."""
        self._heeding.append(told)

    def wake(self, topics: Iterable[str]) -> None:
        for topic in topics:
            for told in self._heeding:
                told(topic)
            of_any = self._listening.get(ANY_JOB, ()) if topic.startswith(ANY_JOB) else ()
            for event in (*self._listening.get(topic, ()), *of_any):
                event.set()

    def wake_all(self) -> None:
        """Wake everybody: after a gap in listening nobody knows what was missed."""
        for told in self._heeding:
            told(None)
        self.wake(list(self._listening))

    @contextmanager
    def listen(self, topic: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set at each change of `topic`; the listener clears it."""
        event = asyncio.Event()
        self._listening.setdefault(topic, set()).add(event)
        try:
            yield event
        finally:
            waiting = self._listening[topic]
            waiting.discard(event)
            if not waiting:
                del self._listening[topic]
