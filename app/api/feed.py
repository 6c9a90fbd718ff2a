"""The live stream of events within this process: read once from the database, handed to everybody who follows."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import structlog

from app import metrics
from app.api import sse
from app.api.sse import Push
from app.db import stream
from app.db.engine import Connection, Database
from app.db.jobs import Owner
from app.db.signals import ANY_JOB
from app.db.stream import Numbered
from app.domain.errors import RateLimited, Unavailable
from app.domain.views import render_entry

log = structlog.get_logger(__name__)
EVERYBODY = Owner(project_id=None)
PAGE = 500
TICK_SECONDS = 1.0
SAFETY_SECONDS = 3.0
"""How often it looks by itself. Wakes come at once; this is for those that a replica missed."""
MOST_HELD = 2_000
"""How many events wait for a slow reader, which then has to come again and go on where it stopped."""
MOST_STREAMS = 1_000
"""Live streams of one credential in one process."""


class TooSlow(Exception):
    """The reader took its events more slowly than they came."""


class Follower:
    """One reader, and what it has still to be sent. It has had everything up to `reached`."""

    def __init__(self, owner: Owner, *, reached: int, push: Push | None) -> None:
        self._owner = owner
        self._push = push
        self._held: deque[tuple[int, bytes]] = deque()
        self.reached = reached
        self.is_idle = False
        """Everything was sent: what is written now comes in its order."""
        self.is_behind = False
        self.news = asyncio.Event()

    def offer(self, found: Numbered, sent: bytes, chunk: bytes) -> None:
        """Write the event if it is one of the reader's, or hold it until the reader has had what comes before."""
        if found.event.project_id != self._owner.project_id or self._owner.subject not in (None, found.subject):
            return
        if found.seq <= self.reached:
            return
        if self.is_idle and not self._held and self._push is not None and self._push(chunk):
            self.reached = found.seq
            return
        if len(self._held) >= MOST_HELD:
            self.is_behind = True
        else:
            self._held.append((found.seq, sent))
        self.news.set()

    def take(self) -> list[tuple[int, bytes]]:
        """Return what is held, and hold it no more; raise TooSlow if something is missing from it."""
        if self.is_behind:
            raise TooSlow
        self.news.clear()
        taken = list(self._held)
        self._held.clear()
        return taken


class Feed:
    """Numbers and reads new events while there is somebody to hear of them. Made for one event loop."""

    def __init__(self) -> None:
        self._followers: set[Follower] = set()
        self._open: Counter[str] = Counter()
        self._pump: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()

    def require_room(self, credential_id: str) -> None:
        """Raise RateLimited if this credential has as many live streams as it may."""
        if self._open[credential_id] >= MOST_STREAMS:
            message = f"{MOST_STREAMS} live streams are open with this key or token. Close some, or follow /v1/events."
            raise RateLimited(message, code="too_many_streams", retry_after=60)

    @contextmanager
    def counted(self, credential_id: str) -> Iterator[None]:
        """Count a live stream while it is open."""
        self._open[credential_id] += 1
        metrics.LIVE_READERS.inc()
        try:
            yield
        finally:
            metrics.LIVE_READERS.dec()
            self._open[credential_id] -= 1
            if not self._open[credential_id]:
                del self._open[credential_id]

    async def follow(
        self, db: Database, owner: Owner, *, after: int, push: Push | None = None
    ) -> AsyncGenerator[bytes | None]:
        """Yield the frames of the owner's events after `after`, for ever, and None every now and then.

        While the caller waits for one, frames may be pushed instead. Raises TooSlow for a reader that is too slow.
        """
        follower = Follower(owner, reached=after, push=push)
        self._followers.add(follower)
        try:
            if self._pump is None or self._pump.done():
                self._begun.clear()
                self._pump = asyncio.ensure_future(self._run(db))
            while not await within(TICK_SECONDS, self._begun):
                yield None
            # What the pump reads from now on it hands over; what was there before is read here. Some may come twice.
            while page := await db.read(partial(stream.since, seq=follower.reached, owner=owner, limit=PAGE)):
                for found in page:
                    yield _frame(found)
                    follower.reached = found.seq
            while True:
                for seq, sent in follower.take():
                    if seq > follower.reached:
                        yield sent
                        follower.reached = seq
                yield None
                follower.is_idle = True
                await within(TICK_SECONDS, follower.news)
                follower.is_idle = False
        finally:
            self._followers.discard(follower)

    async def _run(self, db: Database) -> None:
        """Read until nobody follows any more."""
        seen: int | None = None
        with db.signals.listen(ANY_JOB) as changed:
            while self._followers:
                changed.clear()
                try:
                    if seen is None:
                        await number_all(db)
                        seen = await db.read(stream.last)
                    else:
                        seen = await self._hand_out(db, seen)
                    self._begun.set()
                except Unavailable as error:
                    log.warning("feed_interrupted", reason=str(error))
                await within(SAFETY_SECONDS, changed)

    async def _hand_out(self, db: Database, seen: int) -> int:
        """Number what is committed by now and hand out what has come after `seen`; return the last number."""
        more = True
        while more:
            page, more = await db.write(partial(_numbered, after=seen))
            for found in page:
                sent = _frame(found)
                chunk = sse.chunk(sent)
                for follower in self._followers:
                    follower.offer(found, sent, chunk)
                seen = found.seq
        return seen


def _numbered(conn: Connection, *, after: int) -> tuple[list[Numbered], bool]:
    """Number and read in one go: nobody hears of it before the commit. Tell also whether there may be more."""
    given = stream.assign(conn)
    page = stream.since(conn, after, owner=EVERYBODY, limit=PAGE)
    return page, len(page) >= PAGE or given >= stream.BATCH


async def number_all(db: Database) -> None:
    """Number every event that is committed by now."""
    while await db.write(stream.assign) >= stream.BATCH:
        pass


def _frame(found: Numbered) -> bytes:
    return sse.frame(render_entry(found.event).model_dump_json(), event=found.event.type, id_=found.seq)


async def within(seconds: float, event: asyncio.Event) -> bool:
    """Wait for the event at most so long; tell whether it is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
