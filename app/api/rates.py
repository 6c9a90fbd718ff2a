"""Requests a minute, by project, key and client token: a moving window in the memory of this process.

Each API process counts for itself, so that several of them let through as many times the limit. Money and places
upstream are capped in the database; this only keeps a client that runs wild from crowding out the others.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from app.domain.errors import RateLimited

WINDOW_SECONDS = 60.0
MOST_KEPT = 4096


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many requests a minute of one project, key or token."""

    id: str
    most: int
    whose: str
    """As a sentence begins with it."""


class Rates:
    """Counts the requests of the last minute. Made for one event loop."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, deque[float]] = {}

    def count(self, *limits: Limit) -> dict[str, str]:
        """Count a request under each limit and return the headers that tell of the one with the least room.

        Raises RateLimited, and counts nothing, if one of them has none.
        """
        now = self._clock()
        windows = [(limit, self._window(limit.id, now=now)) for limit in limits]
        for limit, seen in windows:
            if len(seen) >= limit.most:
                raise _refusal(limit, seen, now=now)
        for _, seen in windows:
            seen.append(now)
        limit, seen = min(windows, key=lambda window: window[0].most - len(window[1]))
        return _headers(limit.most, len(seen), reset=WINDOW_SECONDS)

    def _window(self, id_: str, *, now: float) -> deque[float]:
        if id_ not in self._seen and len(self._seen) >= MOST_KEPT:
            self._seen = {name: seen for name, seen in self._seen.items() if seen and seen[-1] > now - WINDOW_SECONDS}
        seen = self._seen.setdefault(id_, deque())
        while seen and seen[0] <= now - WINDOW_SECONDS:
            seen.popleft()
        return seen


def _refusal(limit: Limit, seen: deque[float], *, now: float) -> RateLimited:
    # With the limit lowered meanwhile, room comes only when more than one has left the window.
    wait = max(1, math.ceil(seen[len(seen) - limit.most] + WINDOW_SECONDS - now))
    return RateLimited(
        f"{limit.whose} may send {limit.most} requests a minute. Try again in {wait} s.",
        code="too_many_requests",
        retry_after=wait,
        headers=_headers(limit.most, limit.most, reset=seen[-1] + WINDOW_SECONDS - now),
    )


def _headers(limit: int, used: int, *, reset: float) -> dict[str, str]:
    """`reset` is when the whole limit is free again, in seconds from now; written as OpenAI's API does."""
    return {
        "x-ratelimit-limit-requests": str(limit),
        "x-ratelimit-remaining-requests": str(limit - used),
        "x-ratelimit-reset-requests": f"{math.ceil(reset)}s",
    }
