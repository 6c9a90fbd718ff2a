"""Changes of other processes are heard of, and it is known when they may not be."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing

import pytest
import sqlalchemy as sa

from app.db import foreign, listen, signals
from app.db.engine import Connection, Database
from app.db.signals import Signals
from tests.db.test_engine import add

only_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
only_postgres = pytest.mark.parametrize("database_kind", ["postgres"], indirect=True)


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not reached():
            await asyncio.sleep(0)


@asynccontextmanager
async def hearing(database: Database) -> AsyncIterator[list[str | None]]:
    """Listen as a service does; yield what was heard."""
    heard: list[str | None] = []
    database.signals.heed(heard.append)
    database.signals.wanted = True
    listening = foreign.watch(database) if database.is_sqlite else listen.listen(database.url, database)
    task = asyncio.ensure_future(listening)
    await until(lambda: database.signals.are_whole)
    heard.clear()
    yield heard
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_changes__of_a_short_command_are_heard(database: Database) -> None:
    async with hearing(database) as heard:
        with closing(Database(database.url)) as command, command.transaction() as conn:
            add(conn, "other")
            signals.announce(conn, "job:1")
        await until(lambda: bool(heard))
        assert heard == ([None] if database.is_sqlite else ["job:1"])


@only_sqlite
async def test_commits__of_our_own_are_not_foreign(database: Database) -> None:
    seen = [await database.write(foreign._commits_of_others)]
    await database.write(lambda conn: add(conn, "ours"))
    await database.empty_log()
    seen.append(await database.write(foreign._commits_of_others))
    with closing(Database(database.url)) as command, command.transaction() as conn:
        add(conn, "other")
    seen.append(await database.write(foreign._commits_of_others))
    assert seen[0] == seen[1] != seen[2]


@only_postgres
async def test_listener__that_lost_its_connection_vouches_for_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(conn: Connection) -> None:
        mine = sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%listener'")
        conn.execute(mine)

    monkeypatch.setattr(listen, "RECONNECT_SECONDS", 0.0)
    async with hearing(database) as heard:
        await database.write(cut)
        await until(lambda: not database.signals.are_whole)
        await until(lambda: database.signals.are_whole)
        assert heard == [None]


def test_signals__are_not_whole_for_longer_than_was_vouched() -> None:
    moment = [0.0]
    some = Signals(clock=lambda: moment[0])
    assert not some.are_whole
    some.vouch(seconds=1.5)
    moment[0] = 1.4
    assert some.are_whole
    moment[0] = 1.6
    assert not some.are_whole
