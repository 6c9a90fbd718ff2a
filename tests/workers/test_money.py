"""The paid POST under every fault: at most one purchase a job, and nothing assumed."""

import pytest

from app.db import gate
from app.domain.states import JobState
from tests.workers.conftest import Room

NOTHING_BOUGHT = ["429", "401", "403"]
NOBODY_KNOWS_UNBOUGHT = ["500", "503", "500-bare", "502-bare", "504-bare", "reset-before", "hang-before=5"]
NOBODY_KNOWS_BOUGHT = ["500-after", "503-bare-after", "reset-after", "hang-after=5"]


@pytest.mark.parametrize("fault", NOTHING_BOUGHT)
async def test_refusal__the_job_waits_and_then_succeeds(room: Room, fault: str) -> None:
    job = await room.create(f"A boat [[fault:{fault}*1]]")
    await room.beat("submitter")
    seen = await room.seen(job)
    assert (seen.state, room.sold()) == (JobState.QUEUED, [])
    held = await room.db.read(gate.read)
    assert held.hold_reason == seen.wait_reason
    await room.to_the_end(rounds=8)
    assert (await room.seen(job)).state is JobState.SUCCEEDED
    assert len(room.sold()) == 1
    assert (await room.db.read(gate.read)).hold_reason is None


@pytest.mark.parametrize("fault", NOBODY_KNOWS_UNBOUGHT + NOBODY_KNOWS_BOUGHT)
async def test_unknown__is_never_posted_again(room: Room, fault: str) -> None:
    job = await room.create(f"A boat [[fault:{fault}]]")
    await room.to_the_end(rounds=3)
    room.clock.pass_seconds(7 * 3600)
    await room.beat("sweeper", "submitter")
    seen = await room.seen(job)
    assert (seen.state, seen.attempts) == (JobState.UNCONFIRMED, 1)
    assert len(room.sold()) == (1 if fault in NOBODY_KNOWS_BOUGHT else 0)


@pytest.mark.parametrize("fault", ["truncate=0", "truncate=3", "truncate"])
async def test_cut_off_answer__with_its_id_in_the_header_is_a_purchase(room: Room, fault: str) -> None:
    job = await room.create(f"A boat [[fault:{fault}]]")
    await room.to_the_end(rounds=3)
    seen = await room.seen(job)
    assert seen.state is JobState.SUCCEEDED
    [purchase] = room.sold()
    assert seen.generation_id == purchase["generation_id"]


async def test_repeated_id__leaves_the_later_job_unconfirmed(room: Room) -> None:
    first = await room.create("A boat")
    await room.beat("submitter")
    second = await room.create("A ship [[fault:repeat-id]]")
    await room.beat("submitter")
    assert (await room.seen(first)).state is JobState.GENERATING
    seen = await room.seen(second)
    assert (seen.state, seen.generation_id, seen.video) == (JobState.UNCONFIRMED, None, None)


async def test_bad_input__fails_with_what_the_upstream_said(room: Room) -> None:
    job = await room.create(input={"prompt": "A boat", "duration": 77})
    await room.beat("submitter")
    seen = await room.seen(job)
    assert (seen.state, seen.error_code, seen.billed) == (JobState.FAILED, "invalid_input", False)
    assert seen.error_message is not None
    assert "duration" in seen.error_message


async def test_admission__never_more_than_the_limit_over_two_workers(room: Room) -> None:
    other = room.another_submitter()
    for _ in range(12):
        await room.create()
    for _ in range(10):
        await room.submitter.run_once()
        await other.run_once()
        await room.submitter.drain()
        await other.drain()
        assert sum(purchase["status"] not in ("completed", "error") for purchase in room.sold()) <= 5
        room.clock.pass_seconds(11)
        await room.beat("poller", "saver")
    assert len(room.sold()) == 12


async def test_dead_worker__before_sending_goes_back_to_the_queue(room: Room) -> None:
    job = await room.create()
    await room.db.write(room.submitter._admit)
    room.clock.pass_seconds(61)
    await room.beat("sweeper")
    assert (await room.seen(job)).state is JobState.QUEUED
    await room.to_the_end(rounds=3)
    assert (await room.seen(job)).state is JobState.SUCCEEDED
    assert len(room.sold()) == 1


async def test_dead_worker__while_sending_is_unconfirmed(room: Room) -> None:
    job = await room.create()
    [(claimed, submission)] = await room.db.write(room.submitter._admit)
    await room.db.write(lambda conn: room.submitter._mark_sending(conn, claimed, submission))
    room.clock.pass_seconds(61)
    await room.beat("sweeper")
    assert (await room.seen(job)).state is JobState.UNCONFIRMED
    assert room.sold() == []
