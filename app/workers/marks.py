"""The highest submission number, kept outside of the database: a database that was restored does not know it."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.domain.errors import StorageFailed
from app.media.store import ObjectMissing, Store

OLD = timedelta(days=1)
AT_ONCE = 16
"""How many marks are read side by side: a storage far away answers each only after a while."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A submission that was about to leave: its number, and when."""

    submission: int
    at: datetime


class Marks:
    """Keeps this worker's mark. Each worker writes its own object, so that none can lower another's."""

    def __init__(
        self,
        store: Store,
        *,
        deployment: str,
        worker: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._prefix = f"marks/{deployment}"
        self._key = f"{self._prefix}/{worker.replace(':', '_').replace('.', '_')}.json"
        self._clock = clock
        self._kept = 0
        self._wanted = 0
        self._seen: dict[str, Mark | None] = {}
        self._writing = asyncio.Lock()

    async def cover(self, submission: int) -> None:
        """Return once a mark at least this high is stored: only then may the submission leave. Raises StorageFailed."""
        self._wanted = max(self._wanted, submission)
        async with self._writing:
            if self._kept >= submission:
                return  # another's write covered it meanwhile
            highest = self._wanted
            content = json.dumps({"submission": highest, "at": self._clock().isoformat()}).encode()
            await self._store.put_bytes(self._key, content, content_type="application/json")
            self._kept = highest
            self._seen.pop(self._key, None)

    async def highest(self) -> Mark | None:
        """Return the highest mark of all workers that ever were. Raises StorageFailed.

        What was read once is not read again: a call that is cut off, since the storage is slow and the marks are many,
        is some steps nearer to its end the next time.
        """
        keys = await self._store.list(self._prefix)
        unseen = [key for key in keys if key not in self._seen]
        for begin in range(0, len(unseen), AT_ONCE):
            await asyncio.gather(*(self._see(key) for key in unseen[begin : begin + AT_ONCE]))
        marks = [mark for key in keys if (mark := self._seen[key]) is not None]
        return max(marks, key=lambda mark: mark.submission, default=None)

    async def _see(self, key: str) -> None:
        self._seen[key] = await self._read(key)

    async def forget_old(self) -> None:
        """Cover what was ever sent with this worker's own mark, and delete those of workers gone for a day."""
        highest = await self.highest()
        if highest is None:
            return
        await self.cover(highest.submission)
        for key, seen in list(self._seen.items()):
            if key != self._key and self._is_old(seen) and self._is_old(await self._read(key)):
                await self._store.delete(key)
                del self._seen[key]

    def _is_old(self, mark: Mark | None) -> bool:
        return mark is not None and self._clock() - mark.at > OLD

    async def _read(self, key: str) -> Mark | None:
        try:
            found = json.loads(await self._store.read(key))
            return Mark(int(found["submission"]), datetime.fromisoformat(found["at"]))
        except ObjectMissing:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise StorageFailed(f"{key} in the storage is no mark of Reelay's. Look at it, and delete it.") from error
