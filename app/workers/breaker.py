"""A breaker for polls, apart from the gate of submissions: an upstream that fails every question is asked less."""

import time
from collections.abc import Callable

import structlog

from app.domain.retry import LONGEST_OUTAGE_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, backoff

log = structlog.get_logger()
MOST_FAILURES = 10


class Breaker:
    """Counts failures in a row; past a number it lets one question through at a time, ever more slowly."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._open_until = 0.0

    def room(self, usual: int) -> int:
        """Return how many questions may be asked now: as usual, one as a trial, or none."""
        if self._clock() < self._open_until:
            return 0
        if self._failures < MOST_FAILURES:
            return usual
        self._open_until = self._clock() + self._pause()
        return 1

    def failed(self, *, retry_after_seconds: float | None = None) -> None:
        """A question was not answered; `retry_after_seconds` is how long the upstream asked to be left alone."""
        self._failures += 1
        if self._failures == MOST_FAILURES:
            log.warning("polls_held", failures=self._failures)
            self._open_until = self._clock() + self._pause()
        if retry_after_seconds is not None:
            asked = min(retry_after_seconds, LONGEST_PAUSE_SECONDS)
            self._open_until = max(self._open_until, self._clock() + asked)

    def succeeded(self) -> None:
        """A question was answered."""
        if self._failures >= MOST_FAILURES:
            log.warning("polls_resumed")
        self._failures = 0
        self._open_until = 0.0

    def _pause(self) -> float:
        return backoff(self._failures - MOST_FAILURES, most=LONGEST_OUTAGE_PAUSE_SECONDS)
