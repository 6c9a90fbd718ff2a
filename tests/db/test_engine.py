"""Transactions: whole or not at all, heard only after the commit, one writer on SQLite."""

import asyncio
import threading
from contextlib import closing
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from app.db import signals
from app.db.columns import insert_if_absent
from app.db.engine import Connection, Database
from app.db.tables import workers
from app.domain.errors import Unavailable

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)


def add(conn: Connection, name: str) -> None:
    conn.execute(workers.insert(), {"id": name, "started_at": NOW, "beat_at": NOW})


def names(conn: Connection) -> set[str]:
    return set(conn.execute(sa.select(workers.c.id)).scalars())


async def test_write__a_failure_undoes_its_own_work_only(database: Database) -> None:
    def failing(conn: Connection) -> None:
        add(conn, "bad")
        raise LookupError("on purpose")

    writes = [database.write(lambda conn, n=n: add(conn, f"good{n}")) for n in range(20)]
    results = await asyncio.gather(*writes, database.write(failing), return_exceptions=True)
    assert [type(result) for result in results if result is not None] == [LookupError]
    assert await database.read(names) == {f"good{n}" for n in range(20)}


async def test_write__many_at_once_all_arrive(database: Database) -> None:
    def count_up(conn: Connection, n: int) -> None:
        insert_if_absent(conn, workers, id="shared", started_at=NOW, beat_at=NOW)
        add(conn, f"own{n}")

    await asyncio.gather(*(database.write(lambda conn, n=n: count_up(conn, n)) for n in range(200)))
    assert len(await database.read(names)) == 201


async def test_write__is_heard_after_the_commit_and_not_if_it_failed(database: Database) -> None:
    def announcing(conn: Connection, *, fail: bool) -> None:
        signals.announce(conn, "topic")
        if fail:
            raise LookupError

    with database.signals.listen("topic") as heard:
        with pytest.raises(LookupError):
            await database.write(lambda conn: announcing(conn, fail=True))
        await database.write(lambda conn: add(conn, "unrelated"))
        assert not heard.is_set()
        await database.write(lambda conn: announcing(conn, fail=False))
        assert heard.is_set()


async def test_times__are_aware_and_exact(database: Database) -> None:
    await database.write(lambda conn: add(conn, "w"))
    stored = await database.read(lambda conn: conn.execute(sa.select(workers.c.beat_at)).scalar_one())
    assert stored == NOW
    assert stored.utcoffset().total_seconds() == 0
    with pytest.raises(Exception, match="naive"):
        await database.write(lambda conn: conn.execute(workers.update().values(beat_at=datetime(2026, 1, 1))))  # noqa: DTZ001


async def test_now__is_close_to_the_clock_and_in_utc(database: Database) -> None:
    now = await database.read(database.now)
    assert abs((now - datetime.now(UTC)).total_seconds()) < 5
    assert now.utcoffset().total_seconds() == 0


async def test_read__sees_what_was_committed_while_others_write(database: Database) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(conn: Connection) -> None:
        add(conn, "slow")
        entered.set()
        leave.wait(10)

    writing = asyncio.create_task(database.write(slow))
    await asyncio.to_thread(entered.wait, 10)
    assert await database.read(names) == set()
    leave.set()
    await writing
    assert await database.read(names) == {"slow"}


async def test_write__a_canceled_caller_leaves_a_whole_transaction(database: Database) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(conn: Connection) -> None:
        add(conn, "one")
        entered.set()
        leave.wait(10)
        add(conn, "two")

    writing = asyncio.create_task(database.write(slow))
    await asyncio.to_thread(entered.wait, 10)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    leave.set()
    await database.write(lambda conn: add(conn, "three"))
    while "two" not in await database.read(names):
        await asyncio.sleep(0)
    assert await database.read(names) == {"one", "two", "three"}


async def test_unreachable__is_a_clear_503() -> None:
    with closing(Database("postgresql+psycopg://nobody@127.0.0.1:9/none", pool_size=1)) as away:
        for ask in (away.read, away.write):
            with pytest.raises(Unavailable) as caught:
                await ask(names)
            assert (caught.value.status, caught.value.retry_after) == (503, 5)


@pytest.mark.parametrize("database_kind", ["postgres"], indirect=True)
async def test_write__a_session_that_postgres_ended_for_idling_is_a_clear_503(database: Database) -> None:
    def falling_asleep(conn: Connection) -> None:
        # What a process stopped here would find when it goes on.
        add(conn, "half")
        mine = conn.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        conn.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 1"))
        with database.engine.connect() as other:
            alive = sa.text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid").bindparams(pid=mine)
            while other.execute(alive).scalar_one():
                other.rollback()
        add(conn, "whole")

    with pytest.raises(Unavailable) as caught:
        await database.write(falling_asleep)
    assert (caught.value.status, caught.value.retry_after) == (503, 5)
    assert await database.read(names) == set()


@pytest.mark.parametrize("database_kind", ["postgres"], indirect=True)
async def test_write__a_stopped_process_keeps_its_locks_for_ten_seconds(database: Database) -> None:
    setting = sa.text("SHOW idle_in_transaction_session_timeout")
    assert await database.write(lambda conn: conn.execute(setting).scalar_one()) == "10s"
