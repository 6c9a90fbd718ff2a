"""A value that is read at most once in a while, however many ask for it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """Keeps what `load` returned for some seconds; who asks meanwhile shares it. Failures and empties are not kept."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._kept: tuple[float, T] | None = None
        self._lock = asyncio.Lock()

    async def get(self, load: Callable[[], Awaitable[T]]) -> T:
        async with self._lock:
            if self._kept is None or self._clock() >= self._kept[0]:
                value = await load()
                if not value:
                    return value
                self._kept = (self._clock() + self._seconds, value)
            return self._kept[1]
