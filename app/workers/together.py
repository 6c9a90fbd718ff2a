"""Write together what comes in while the last write is under way: one transaction for many answers."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
LARGEST_BATCH = 25
"""So few that whoever else wants to write does not wait for long."""


class Together(Generic[T]):
    """Hands items to `write` in batches, one after the other; an item of a batch that failed once more, for itself."""

    def __init__(self, write: Callable[[Sequence[T]], Awaitable[None]]) -> None:
        self._write = write
        self._waiting: list[tuple[T, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def add(self, item: T) -> None:
        """Return once the item is written; raise what its own write raised."""
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((item, written))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())
        await written

    async def drain(self) -> None:
        """Return once nothing is being written."""
        if self._writing is not None:
            await self._writing

    async def _write_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:LARGEST_BATCH], self._waiting[LARGEST_BATCH:]
            if not await self._wrote(batch) and len(batch) > 1:
                for one in batch:
                    await self._wrote([one])

    async def _wrote(self, batch: list[tuple[T, "asyncio.Future[None]"]]) -> bool:
        """Write the batch; False if it failed, which is told to one that was alone in it."""
        try:
            await self._write([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001  # whatever it was, the others of the batch must not suffer from it
            if len(batch) > 1:
                return False
            if not batch[0][1].done():
                batch[0][1].set_exception(error)
            return False
        for _, written in batch:
            if not written.done():
                written.set_result(None)
        return True
