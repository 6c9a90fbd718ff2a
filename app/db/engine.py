"""The database: transactions as plain functions, run in threads, on Postgres or SQLite.

A transaction is a function over a connection. It cannot await, so none is ever open across HTTP or file I/O, and once
begun it ends even when the task that asked for it is canceled. SQLite gets one writer thread that commits what is
waiting in groups; Postgres a pool of threads.
"""

import asyncio
import math
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidatePoolError

from app.db import acts, ledger
from app.db.faults import is_conflict, translated
from app.db.signals import Signals, take_announced
from app.db.sqlite_writer import SqliteWriter
from app.domain.actor import Actor

__all__ = ["CHANNEL", "KEEPALIVES", "ArgumentError", "Connection", "Database"]

T = TypeVar("T")
Work = Callable[[Connection], T]
Timing = Callable[[float], None]

CHANNEL = "reelay"
CONFLICT_TRIES = 5
READERS = 4
TRUSTED_IDLE_SECONDS = 1.0
"""A connection that was used so lately is not asked whether it still stands."""
CLOCK_KEPT_SECONDS = 1.0
"""How long one reading of Postgres' clock is carried on by our own, for what is only shown."""
CLOCK_TRUSTED_SECONDS = 10.0
"""How long it is carried on where nothing else needs the database."""
KEEPALIVES = {
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
"""Without them a connection that died silently would look like a quiet one for hours."""

IDLE_MILLISECONDS = 10_000
"""What a process that stopped in mid-transaction has locked, the gate perhaps, keeps the others waiting for so long.

Ours are never idle in a transaction: nothing in one waits for anybody but the database.
"""


class Writer(Protocol):
    """Runs transactions one after the other or side by side, and tells what they announced."""

    def submit(self, work: Work[Any]) -> "Future[tuple[Any, set[str]]]": ...
    def close(self) -> None: ...


class Database:
    """Runs transactions. `clock` replaces the database's time in tests."""

    def __init__(self, url: str, *, pool_size: int = 8, clock: Callable[[], datetime] | None = None) -> None:
        self.url = url
        self.signals = Signals()
        self._clock = clock
        self.engine = _sqlite_engine(url) if self.is_sqlite else _postgres_engine(url, pool_size)
        self._writer: Writer = SqliteWriter(self.engine) if self.is_sqlite else PostgresWriter(self.engine, pool_size)
        self._readers = ThreadPoolExecutor(READERS if self.is_sqlite else pool_size, thread_name_prefix="db-read")
        # A Postgres read sees what is committed at each statement either way; so it costs no BEGIN and no ROLLBACK.
        self._reading = self.engine if self.is_sqlite else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._clock_read = (-math.inf, datetime.min.replace(tzinfo=UTC))
        self.time_read: Timing = _untimed
        """Told how many seconds each transaction of this kind took, with the wait for its turn."""
        self.time_write: Timing = _untimed

    @property
    def is_sqlite(self) -> bool:
        return self.url.startswith("sqlite")

    @property
    def sqlite_path(self) -> Path:
        """Return the SQLite file."""
        return Path(sa.make_url(self.url).database or "")

    def now(self, conn: Connection) -> datetime:
        """Return the time of this transaction: the database's own, so that all replicas agree."""
        if self._clock is not None:
            return self._clock()
        if self.is_sqlite:
            return datetime.now(UTC)
        moment: datetime = conn.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        return moment.astimezone(UTC)

    def about_now(self, conn: Connection) -> datetime:
        """Return the time as `now` does, for what is only shown: on Postgres it is asked for once a second."""
        if self._clock is not None or self.is_sqlite:
            return self.now(conn)
        read_at, then = self._clock_read
        passed = time.monotonic() - read_at
        if passed < CLOCK_KEPT_SECONDS:
            return then + timedelta(seconds=passed)
        now = self.now(conn)
        self._clock_read = (time.monotonic(), now)
        return now

    def recent_now(self) -> datetime | None:
        """Return the time as `about_now` does, without asking; None if it was not asked for lately."""
        if self._clock is not None:
            return self._clock()
        if self.is_sqlite:
            return datetime.now(UTC)
        read_at, then = self._clock_read
        passed = time.monotonic() - read_at
        return then + timedelta(seconds=passed) if passed < CLOCK_TRUSTED_SECONDS else None

    async def write(self, work: Work[T], *, by: Actor | None = None) -> T:
        """Run `work` in a transaction of its own, in the name of `by`, and return its result.

        Raises Unavailable if the database is away.
        """
        loop, began = asyncio.get_running_loop(), time.perf_counter()
        future = self._writer.submit(ledger.booked(acts.attributed(work, by)))
        # Not after the await: what was committed is told even if this caller was canceled meanwhile.
        future.add_done_callback(lambda done: self._tell(done, loop))
        result: T
        result, _ = await asyncio.wrap_future(future)
        self.time_write(time.perf_counter() - began)
        return result

    def _tell(self, done: "Future[tuple[Any, set[str]]]", loop: asyncio.AbstractEventLoop) -> None:
        if done.cancelled() or done.exception() is not None or not done.result()[1]:
            return
        with suppress(RuntimeError):  # the loop has ended, and with it everybody who listened
            loop.call_soon_threadsafe(self.signals.wake, done.result()[1])

    async def read(self, work: Work[T]) -> T:
        """Run `work`, which only reads, and return its result; raise Unavailable if the database is away."""
        began = time.perf_counter()
        result = await asyncio.wrap_future(self._readers.submit(self._read, work))
        self.time_read(time.perf_counter() - began)
        return result

    def _read(self, work: Work[T]) -> T:
        with translated(), self._reading.connect() as conn:
            return work(conn)

    async def empty_log(self) -> None:
        """Move SQLite's write-ahead log into the database file and cut it off; nothing to do on Postgres."""
        if isinstance(self._writer, SqliteWriter):
            await asyncio.wrap_future(self._writer.empty_log())

    @contextmanager
    def transaction(self, *, by: Actor | None = None) -> Iterator[Connection]:
        """A transaction of the calling thread, for short commands outside the event loop."""
        with translated(), self.engine.execution_options(writing=True).begin() as conn:
            take_announced(conn)
            ledger.forget_noted(conn)
            with acts.acting(conn, by):
                yield conn
            ledger.book_sums(conn)
            topics = take_announced(conn)
            if not self.is_sqlite:
                notify(conn, topics)
        self.signals.wake(topics)

    def close(self) -> None:
        """Finish the transactions under way and let go of every connection."""
        self._writer.close()
        self._readers.shutdown()
        self.engine.dispose()


class PostgresWriter:
    """Runs each transaction in a thread of a pool; conflicts are repeated whole."""

    def __init__(self, engine: Engine, pool_size: int) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(pool_size, thread_name_prefix="db-write")

    def submit(self, work: Work[Any]) -> "Future[tuple[Any, set[str]]]":
        return self._threads.submit(self._run, work)

    def _run(self, work: Work[Any]) -> tuple[Any, set[str]]:
        for tried in range(1, CONFLICT_TRIES + 1):
            try:
                with translated():
                    return self._once(work)
            except DBAPIError as error:
                if not is_conflict(error) or tried == CONFLICT_TRIES:
                    raise
                time.sleep(random.uniform(0, 0.01 * 2**tried))  # noqa: S311  # spreads retries, guards nothing
        raise AssertionError("unreachable")

    def _once(self, work: Work[Any]) -> tuple[Any, set[str]]:
        with self._engine.begin() as conn:
            take_announced(conn)
            result = work(conn)
            topics = take_announced(conn)
            notify(conn, topics)
        return result, topics

    def close(self) -> None:
        self._threads.shutdown()


def notify(conn: Connection, topics: set[str]) -> None:
    """Tell the other replicas, once this transaction has committed."""
    if topics:
        conn.execute(_NOTIFY, {"channel": CHANNEL, "topics": sorted(topics)})


_NOTIFY = sa.text("SELECT pg_notify(:channel, topic) FROM unnest(CAST(:topics AS text[])) AS topic")


def _postgres_engine(url: str, pool_size: int) -> Engine:
    engine = sa.create_engine(
        url,
        pool_size=2 * pool_size,
        max_overflow=0,
        hide_parameters=True,
        connect_args={
            **{name: int(value) for name, value in KEEPALIVES.items()},
            "connect_timeout": 5,
            "application_name": "reelay",
            "options": f"-c timezone=UTC -c idle_in_transaction_session_timeout={IDLE_MILLISECONDS}",
        },
    )

    @event.listens_for(engine, "checkin")
    def _note_use(_connection: Any, record: Any) -> None:
        record.info["used_at"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _ask_if_idle(connection: Any, record: Any, _proxy: Any) -> None:
        # As pool_pre_ping does, which asks each time: a round trip more for every transaction.
        if time.monotonic() - record.info.get("used_at", math.inf) < TRUSTED_IDLE_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError("the connection was lost while it was idle") from error

    return engine


def _untimed(_seconds: float) -> None:
    """Nobody wants to know."""


def password_of(url: str) -> str:
    """Return the password in a database's address; empty if it holds none."""
    return sa.make_url(url).password or ""


def _sqlite_engine(url: str) -> Engine:
    path = Path(sa.make_url(url).database or "")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)  # prompts are nobody else's business; the log files take after it
    engine = sa.create_engine(
        url,
        pool_size=READERS + 2,
        max_overflow=0,
        hide_parameters=True,
        connect_args={"timeout": 30, "check_same_thread": False, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        # FULL: a commit that was answered survives a power cut. It costs nothing once commits come in groups.
        # SECURE_DELETE: what was deleted is overwritten, not only unlinked.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(conn: Connection) -> None:
        conn.exec_driver_sql("BEGIN IMMEDIATE" if conn.get_execution_options().get("writing") else "BEGIN")

    return engine
