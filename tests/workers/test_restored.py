"""A database from a backup has forgotten purchases: it is noticed, and nothing is bought a second time."""

import asyncio
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.db import log_reader, restoring
from app.db.engine import Database
from app.domain.errors import StorageFailed
from app.domain.states import JobState
from app.media.store import Store
from app.workers import restored
from app.workers.marks import Marks
from app.workers.restored import RestoreWatch
from tests.workers.conftest import DEPLOYMENT, WINDOW_SECONDS, Room


@pytest.fixture
def database_kind() -> str:
    """A file is easily taken back to what it was; on Postgres the sequence has its own test below."""
    return "sqlite"


async def travelled_back(room: Room, folder: Path) -> tuple[Any, Any]:
    """Make a backup with two queued jobs, buy one of them afterwards, and go back to the backup."""
    bought, waiting = await room.create("A boat"), await room.create("A ship", priority=1)
    await room.db.empty_log()
    backup = folder / "backup.db"
    shutil.copyfile(room.db.sqlite_path, backup)
    last = room.another_submitter(max_in_flight=1)
    await last.run_once()
    await last.crew.drain()
    assert (await room.seen(bought)).state is JobState.GENERATING
    room.clock.pass_seconds(120)
    room.db.close()
    for leftover in folder.glob("reelay.db-*"):
        leftover.unlink()
    shutil.copyfile(backup, folder / "reelay.db")
    room.db = Database(f"sqlite:///{folder / 'reelay.db'}", clock=room.clock)
    room.leasing._db = room.db
    room.marks = Marks(room.store, deployment=DEPLOYMENT, worker="w2", clock=room.clock)
    room.submitter, room.reconciler = room.another_submitter(), room.another_reconciler()
    for duty in (room.poller, room.saver, room.sweeper, room.prober):
        duty._db = room.db
    return bought, waiting


async def test_restored__buys_nothing_that_was_bought_meanwhile(room: Room, tmp_path: Path) -> None:
    bought, waiting = await travelled_back(room, tmp_path)
    await room.beat("submitter")
    assert [(await room.seen(job)).wait_reason for job in (bought, waiting)] == ["restored_database"] * 2
    assert len(room.sold()) == 1
    await room.beat("reconciler")
    adopted = await room.seen(bought)
    assert (adopted.state, adopted.attempts, adopted.parked) == (JobState.GENERATING, 1, False)
    assert (await room.seen(waiting)).parked
    await room.to_the_end(rounds=3)
    assert (await room.seen(bought)).state is JobState.SUCCEEDED
    assert (await room.seen(waiting)).state is JobState.QUEUED
    room.clock.pass_seconds(WINDOW_SECONDS)
    await room.beat("reconciler")
    await room.to_the_end(rounds=4)
    assert (await room.seen(waiting)).state is JobState.SUCCEEDED
    assert len(room.sold()) == 2


async def test_restored__new_jobs_are_not_kept_waiting(room: Room, tmp_path: Path) -> None:
    await travelled_back(room, tmp_path)
    await room.beat("submitter")
    fresh = await room.create("A raft")
    await room.beat("submitter")
    assert (await room.seen(fresh)).state is JobState.GENERATING


async def test_restored__is_noticed_once(room: Room, tmp_path: Path) -> None:
    await travelled_back(room, tmp_path)
    await room.beat("submitter")
    await room.db.write(restoring.unpark)
    again = room.another_submitter()
    await again.run_once()
    await again.crew.drain()
    assert (await room.db.read(log_reader.counts)).parked == 0


async def test_restored__a_number_the_upstream_has_seen_is_not_used_again(room: Room, tmp_path: Path) -> None:
    """The forgotten attempt was refused: the next one must not carry its request id."""
    job = await room.create("A boat [[fault:429*1]]")
    await room.db.empty_log()
    shutil.copyfile(room.db.sqlite_path, tmp_path / "backup.db")
    await room.beat("submitter")
    room.db.close()
    for leftover in tmp_path.glob("reelay.db-*"):
        leftover.unlink()
    shutil.copyfile(tmp_path / "backup.db", tmp_path / "reelay.db")
    room.db = Database(f"sqlite:///{tmp_path / 'reelay.db'}", clock=room.clock)
    room.leasing._db = room.db
    room.submitter, room.reconciler = room.another_submitter(), room.another_reconciler()
    await room.beat("submitter", "reconciler")
    assert (await room.seen(job)).attempts == 1
    room.clock.pass_seconds(WINDOW_SECONDS + 60)
    await room.beat("reconciler", "submitter")
    [purchase] = room.sold()
    assert purchase["client_request_id"] == f"rly:{DEPLOYMENT}:{job.id}:2"


async def test_watch__without_a_storage_nothing_is_submitted(room: Room) -> None:
    class Away(Store):
        async def list(self, prefix: str) -> list[str]:
            raise StorageFailed("away")

    marks = Marks(Away(room.store._remote, place="nowhere"), deployment=DEPLOYMENT, worker="w")
    watch = RestoreWatch(room.db, marks, window_seconds=60)
    assert not await watch.has_looked()


class Slow(Store):
    """A storage that answers three reads within the time of one look."""

    left = 0

    async def list(self, prefix: str) -> list[str]:
        self.left = 3
        return await super().list(prefix)

    async def read(self, key: str) -> bytes:
        if self.left == 0:
            await asyncio.Event().wait()
        self.left -= 1
        return await super().read(key)


async def test_watch__many_marks_in_a_slow_storage_are_read_in_several_looks(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restored, "LOOK_SECONDS", 0.3)
    for number in range(1, 8):
        await Marks(room.store, deployment=DEPLOYMENT, worker=f"w{number}").cover(number)
    slow = Slow(room.store._remote, place="slow", root=room.media)
    watch = RestoreWatch(room.db, Marks(slow, deployment=DEPLOYMENT, worker="w"), window_seconds=60)
    looks = [await watch.has_looked() for _ in range(4)]
    assert looks == [False, False, True, True]


async def test_submission__leaves_only_once_its_mark_is_stored(room: Room) -> None:
    job = await room.create("A boat")

    class Full(Store):
        async def put_bytes(self, key: str, data: bytes, *, content_type: str) -> None:
            raise StorageFailed("full")

    room.marks = Marks(Full(room.store._remote, place="full", root=room.media), deployment=DEPLOYMENT, worker="w")
    submitter = room.another_submitter()
    await submitter.run_once()
    await submitter.crew.drain()
    seen = await room.seen(job)
    assert (seen.state, seen.wait_reason, room.sold()) == (JobState.QUEUED, "storage_unavailable", [])
    assert seen.due_at - room.clock.now == timedelta(seconds=5)
    room.clock.pass_seconds(5)
    await submitter.run_once()
    await submitter.crew.drain()
    assert (await room.seen(job)).due_at - room.clock.now == timedelta(seconds=10)


async def test_marks__the_highest_of_all_workers_counts_and_old_ones_go(room: Room) -> None:
    first = Marks(room.store, deployment=DEPLOYMENT, worker="a:1", clock=room.clock)
    second = Marks(room.store, deployment=DEPLOYMENT, worker="b.example:2", clock=room.clock)
    await first.cover(7)
    await first.cover(3)
    await second.cover(5)
    highest = await second.highest()
    assert highest is not None
    assert highest.submission == 7
    room.clock.pass_seconds(2 * 86_400)
    await second.forget_old()
    assert len(await room.store.list(f"marks/{DEPLOYMENT}")) == 1
    assert (await second.highest()) == (await first.highest())
    assert (await second.highest() or highest).submission == 7


async def test_watch__forgets_the_marks_of_workers_long_gone(room: Room) -> None:
    gone = Marks(room.store, deployment=DEPLOYMENT, worker="gone", clock=room.clock)
    await gone.cover(1)
    room.clock.pass_seconds(2 * 86_400)
    await room.create("A boat")
    await room.beat("submitter")
    assert await room.store.list(f"marks/{DEPLOYMENT}") == [f"marks/{DEPLOYMENT}/w.json"]


class Hanging(Store):
    """A storage that takes a write and never answers."""

    asked: asyncio.Event

    async def put_bytes(self, key: str, data: bytes, *, content_type: str) -> None:
        self.asked.set()
        await asyncio.Event().wait()


async def test_stop__is_not_kept_by_a_storage_that_hangs(room: Room) -> None:
    job = await room.create("A boat")
    store = Hanging(room.store._remote, place="hanging", root=room.media)
    store.asked = asyncio.Event()
    room.marks = Marks(store, deployment=DEPLOYMENT, worker="w")
    submitter = room.another_submitter()
    await submitter.run_once()
    await store.asked.wait()
    async with asyncio.timeout(5):
        await submitter.drain()
    assert ((await room.seen(job)).state, room.sold()) == (JobState.QUEUED, [])


async def test_marks__what_is_none_stops_the_submissions(room: Room) -> None:
    await room.store.put_bytes(f"marks/{DEPLOYMENT}/x.json", b"rubbish", content_type="application/json")
    with pytest.raises(StorageFailed, match="no mark"):
        await room.marks.highest()
    job = await room.create("A boat")
    await room.beat("submitter")
    assert (await room.seen(job)).state is JobState.QUEUED


async def test_parked__by_hand_until_the_window_is_over(room: Room) -> None:
    job = await room.create("A boat")
    since = room.clock.now
    until = since.fromtimestamp(since.timestamp() + 600, since.tzinfo)
    await room.db.write(lambda conn: restoring.park(conn, since=since, until=until))
    await room.beat("submitter", "reconciler")
    assert (await room.seen(job)).parked
    assert (await room.db.read(log_reader.state)).restored_from == since
    room.clock.pass_seconds(601)
    await room.beat("reconciler", "submitter")
    assert (await room.seen(job)).state is JobState.GENERATING
