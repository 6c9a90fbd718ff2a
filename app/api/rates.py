"""Requests a minute, by project: a moving window in the memory of this process.

Each API process counts for itself, so that several of them let through as many times the limit. Money and places
upstream are capped in the database; this only keeps a client that runs wild from crowding out the others.
"""

import math
import time
from collections import deque
from collections.abc import Callable

from app.domain.errors import RateLimited

WINDOW_SECONDS = 60.0


class Rates:
    """Counts the requests of the last minute. Made for one event loop."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, deque[float]] = {}

    def count(self, project_id: str, *, limit: int) -> dict[str, str]:
        """Count a request and return the headers that tell of the limit; raise RateLimited if there is no room."""
        now = self._clock()
        seen = self._seen.setdefault(project_id, deque())
        while seen and seen[0] <= now - WINDOW_SECONDS:
            seen.popleft()
        if len(seen) < limit:
            seen.append(now)
            return _headers(limit, len(seen), reset=seen[-1] + WINDOW_SECONDS - now)
        # With the limit lowered meanwhile, room comes only when more than one has left the window.
        wait = max(1, math.ceil(seen[len(seen) - limit] + WINDOW_SECONDS - now))
        raise RateLimited(
            f"The project may send {limit} requests a minute. Try again in {wait} s.",
            code="too_many_requests",
            retry_after=wait,
            headers=_headers(limit, limit, reset=seen[-1] + WINDOW_SECONDS - now),
        )


def _headers(limit: int, used: int, *, reset: float) -> dict[str, str]:
    """`reset` is when the whole limit is free again, in seconds from now; written as OpenAI's API does."""
    return {
        "x-ratelimit-limit-requests": str(limit),
        "x-ratelimit-remaining-requests": str(limit - used),
        "x-ratelimit-reset-requests": f"{math.ceil(reset)}s",
    }
