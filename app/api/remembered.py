"""A value that is read at most once in a while, however many ask for it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """Keeps what `load` returned for some seconds; who asks meanwhile shares it. Failures and empties are not kept.

    It is kept for longer where loading takes long: at most `share` of the time goes into it.
    """

    def __init__(self, seconds: float, *, share: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._share = share
        self._clock = clock
        self._kept: tuple[float, T] | None = None
        self._lock = asyncio.Lock()

    async def get(self, load: Callable[[], Awaitable[T]]) -> T:
        async with self._lock:
            if self._kept is None or self._clock() >= self._kept[0]:
                began = self._clock()
                value = await load()
                if not value:
                    return value
                took = self._clock() - began
                self._kept = (self._clock() + max(self._seconds, took / self._share), value)
            return self._kept[1]
