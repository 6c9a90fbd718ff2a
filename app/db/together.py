"""Write together what comes in while the last write is under way: one transaction for many answers."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
Write = Callable[[Sequence[T]], Awaitable[Sequence[R]]]
"""Writes a batch and returns what came of each item, in their order."""
LARGEST_BATCH = 25
"""So few that whoever else wants to write does not wait for long."""


class Together(Generic[T, R]):
    """Hands items to their `write` in batches, one after the other; an item of a batch that failed once more, alone.

    `final` are failures after which nothing is tried again: nobody knows whether the batch was written.
    """

    def __init__(self, *, largest: int = LARGEST_BATCH, final: tuple[type[Exception], ...] = ()) -> None:
        self._largest = largest
        self._final = final
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def add(self, item: T, write: Write[T, R]) -> R:
        """Return what came of the item once it is written; raise what its own write raised."""
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((item, written))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all(write))
        result: R = await written
        return result

    async def drain(self) -> None:
        """Return once nothing is being written."""
        if self._writing is not None:
            await self._writing

    async def _write_all(self, write: Write[T, R]) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._largest], self._waiting[self._largest :]
            if not await self._wrote(batch, write) and len(batch) > 1:
                for one in batch:
                    await self._wrote([one], write)

    async def _wrote(self, batch: "list[tuple[T, asyncio.Future[R]]]", write: Write[T, R]) -> bool:
        """Write the batch and tell what came of it; False if it is to be tried again one by one."""
        try:
            results = await write([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001  # whatever it was, the others of the batch must not suffer from it
            if len(batch) > 1 and not isinstance(error, self._final):
                return False
            for _, written in batch:
                if not written.done():
                    written.set_exception(error)
            return True
        for (_, written), result in zip(batch, results, strict=True):
            if not written.done():
                written.set_result(result)
        return True
