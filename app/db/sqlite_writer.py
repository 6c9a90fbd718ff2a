"""The single SQLite writer: one thread, BEGIN IMMEDIATE, and whatever waits is committed as one group.

64 writers that each begin for themselves get lock errors; one writer that syncs once a group gets none and is faster.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from sqlalchemy import Connection, Engine

from app.db.faults import translated
from app.db.signals import take_announced

Outcome = tuple[Any, set[str]]
LARGEST_GROUP = 64


class _Task:
    """One transaction that waits for its turn, and its answer."""

    def __init__(self, work: Callable[[Connection], Any], *, alone: bool = False) -> None:
        self.work = work
        self.alone = alone
        """Is run by itself, in no transaction."""
        self.future: Future[Outcome] = Future()


class SqliteWriter:
    """Owns the writing connection. Work may be run again, as on Postgres after a conflict: it has no other effects."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.execution_options(writing=True)
        self._conn: Connection | None = None
        self._closed = False
        self._waiting: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="db-write", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Connection], Any]) -> Future[Outcome]:
        if self._closed:
            raise RuntimeError("the database is closed")
        task = _Task(work)
        self._waiting.put(task)
        return task.future

    def empty_log(self) -> Future[Outcome]:
        """Move the write-ahead log into the database file and cut it off, once what waits has been committed.

        On this connection: over another one it would look like somebody else's commit.
        """
        task = _Task(_checkpoint, alone=True)
        self._waiting.put(task)
        return task.future

    def close(self) -> None:
        """Commit what waits, then end the thread."""
        self._closed = True
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            group, last = self._next_group()
            if group:
                self._commit(group)
            if last:
                if self._conn is not None:
                    self._conn.close()
                return

    def _next_group(self) -> tuple[list[_Task], bool]:
        group: list[_Task] = []
        task = self._waiting.get()
        while task is not None:
            if task.future.set_running_or_notify_cancel():
                if task.alone:
                    if group:
                        self._commit(group)
                        group = []
                    self._run_alone(task)
                else:
                    group.append(task)
            if len(group) == LARGEST_GROUP or self._waiting.empty():
                return group, False
            task = self._waiting.get()
        return group, True

    def _commit(self, group: list[_Task]) -> None:
        """Run the group in one transaction; answer each only after the commit.

        If one fails, all is undone and each is run again for itself, so that nobody pays for another's failure.
        """
        outcomes: list[Outcome]
        try:
            with translated(), (conn := self._connected()).begin():
                outcomes = [self._run_one(conn, task) for task in group]
        except BaseException as error:  # noqa: BLE001  # the thread must live, and the caller must hear
            if len(group) == 1:
                group[0].future.set_exception(error)
            else:
                for task in group:
                    self._commit([task])
            return
        for task, outcome in zip(group, outcomes, strict=True):
            task.future.set_result(outcome)

    def _run_alone(self, task: _Task) -> None:
        try:
            with translated():
                task.future.set_result((task.work(self._connected()), set()))
        except BaseException as error:  # noqa: BLE001  # as above
            task.future.set_exception(error)

    def _connected(self) -> Connection:
        """Return the connection, always the same one: to it, every commit of another one is foreign."""
        if self._conn is None:
            self._conn = self._engine.connect()
        return self._conn

    @staticmethod
    def _run_one(conn: Connection, task: _Task) -> Outcome:
        take_announced(conn)
        return task.work(conn), take_announced(conn)


def _checkpoint(conn: Connection) -> None:
    driver: Any = conn.connection.driver_connection
    driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
