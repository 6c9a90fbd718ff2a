"""The paid POST under every fault: at most one purchase a job, and nothing assumed."""

from datetime import timedelta
from typing import Any

import pytest

from app.db import gate, settling, submissions
from app.domain.errors import Refusal, Refused, Unavailable
from app.domain.states import JobState
from app.workers.sweep import Sweeper
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
    for_all, by_model = await room.db.read(gate.reasons)
    assert seen.wait_reason == ("model_forbidden" if fault == "403" else for_all)
    assert by_model == ({"veo2": "model_forbidden"} if fault == "403" else {})
    await room.to_the_end(rounds=8)
    assert (await room.seen(job)).state is JobState.SUCCEEDED
    assert len(room.sold()) == 1
    assert await room.db.read(gate.reasons) == (None, {})


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
        await room.submitter.crew.drain()
        await other.crew.drain()
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


async def test_dead_worker__is_found_between_two_tidyings(room: Room) -> None:
    sweeper = Sweeper(room.db, room.store, worker="w", retention=timedelta(days=7), tidy_every_seconds=3600)
    await sweeper.run_once()
    job = await room.create()
    await room.db.write(room.submitter._admit)
    late = await room.create(start_by=room.clock.now)
    room.clock.pass_seconds(61)
    await sweeper.run_once()
    assert (await room.seen(job)).state is JobState.QUEUED
    assert (await room.seen(late)).state is JobState.QUEUED
    await room.beat("sweeper")
    assert (await room.seen(late)).state is JobState.FAILED


async def test_dead_worker__while_sending_is_unconfirmed(room: Room) -> None:
    job = await room.create()
    [(claimed, submission)] = await room.db.write(room.submitter._admit)
    await room.db.write(lambda conn: room.submitter._mark_sending(conn, claimed, submission))
    room.clock.pass_seconds(61)
    await room.beat("sweeper")
    assert (await room.seen(job)).state is JobState.UNCONFIRMED
    assert room.sold() == []


async def test_database__odd_errors_never_drop_a_paid_answer(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    record, failures = submissions.record_accepted, [Unavailable("away"), RuntimeError("standby is read-only")]

    def failing(*args: object, **kwargs: object) -> None:
        if failures:
            raise failures.pop()
        record(*args, **kwargs)

    monkeypatch.setattr(submissions, "record_accepted", failing)
    job = await room.create()
    await room.beat("submitter")
    assert (await room.seen(job)).state is JobState.GENERATING


async def test_mark__of_unknown_fate_is_never_posted_and_not_left_in_doubt(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark, write = submissions.mark_sending, room.db.write
    lost: list[bool] = []

    async def losing(work: Any) -> Any:
        result = await write(work)
        if lost:
            lost.clear()
            raise Unavailable("the connection broke after the commit")
        return result

    def marked(*args: Any, **kwargs: Any) -> bool:
        if room.sold() == [] and not settled:
            lost.append(True)
            settled.append(True)
        return mark(*args, **kwargs)

    settled: list[bool] = []
    monkeypatch.setattr(submissions, "mark_sending", marked)
    monkeypatch.setattr(room.db, "write", losing)
    job = await room.create()
    await room.beat("submitter")
    assert ((await room.seen(job)).state, room.sold()) == (JobState.QUEUED, [])
    await room.to_the_end(rounds=4)
    assert (await room.seen(job)).state is JobState.SUCCEEDED
    assert len(room.sold()) == 1


async def test_late_answer__is_found_by_the_sweep(room: Room) -> None:
    """Recorded after everybody had given up, by a worker that died before it could move the job."""
    job = await room.create()
    [(claimed, submission)] = await room.db.write(room.submitter._admit)
    await room.db.write(lambda conn: room.submitter._mark_sending(conn, claimed, submission))
    room.clock.pass_seconds(61)
    await room.beat("sweeper")
    await room.db.write(
        lambda conn: submissions.record_accepted(
            conn, submission.id, now=room.clock.now, generation_id="g1", inference_id=None, credits=None
        )
    )
    await room.beat("sweeper")
    seen = await room.seen(job)
    assert (seen.state, seen.generation_id) == (JobState.GENERATING, "g1")


async def test_stop__what_is_not_yet_sent_is_given_back(room: Room) -> None:
    job = await room.create()
    await room.submitter.run_once()
    await room.submitter.drain()
    assert ((await room.seen(job)).state, room.sold()) == (JobState.QUEUED, [])
    next_worker = room.another_submitter()
    await next_worker.run_once()
    await next_worker.crew.drain()
    assert ((await room.seen(job)).state, len(room.sold())) == (JobState.GENERATING, 1)


async def test_poison__one_job_that_is_always_refused_does_not_stop_the_others(room: Room) -> None:
    await room.create("A boat [[fault:403]]")
    good = await room.create("A ship")
    for _ in range(40):
        await room.beat("submitter", "poller", "saver")
        room.clock.pass_seconds(31)
    assert (await room.seen(good)).state is JobState.SUCCEEDED


async def test_trial__a_refusal_of_the_job_itself_opens_the_gate(room: Room) -> None:
    await room.create("A boat [[fault:401*1]]")
    await room.beat("submitter")
    await room.create(input={"prompt": "bad", "duration": 77}, priority=-1)
    room.clock.pass_seconds(31)
    await room.beat("prober", "submitter")
    assert (await room.db.read(gate.read)).hold_reason is None


async def test_hold__outlives_an_acceptance_that_was_asked_for_before_it(room: Room) -> None:
    first, second = await room.create(), await room.create("A ship")
    admitted = await room.db.write(room.submitter._admit)
    for job, submission in admitted:
        await room.db.write(lambda conn, j=job, s=submission: room.submitter._mark_sending(conn, j, s))
    refusal = Refused("slow down", refusal=Refusal.RATE_LIMITED, http_status=429, retry_after_seconds=300)

    def settle(conn: Any) -> None:
        submissions.record_failure(conn, admitted[0][1].id, refusal, now=room.clock.now)
        settling.settle(conn, first.id, now=room.clock.now, lease_token=admitted[0][0].lease_token)
        submissions.record_accepted(
            conn, admitted[1][1].id, now=room.clock.now, generation_id="g", inference_id=None, credits=None
        )
        settling.settle(conn, second.id, now=room.clock.now, lease_token=admitted[1][0].lease_token)

    await room.db.write(settle)
    assert (await room.db.read(gate.read)).hold_reason == "upstream_rate_limited"
