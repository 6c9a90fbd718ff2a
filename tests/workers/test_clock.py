"""The clock of the house is set two hours forward or back under work in every stage; the upstream's is not."""

from datetime import timedelta
from typing import Any

import pytest

from app.db import claims, gate
from app.db.claims import Lease
from app.domain.job import Job
from app.domain.states import JobState
from app.workers.poll import Poller
from tests.workers.conftest import DEPLOYMENT, Clock, Room

TWO_HOURS = 7200.0
SOON_SECONDS = 600
"""Within this everything must be done."""


@pytest.fixture
def true_clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox_options(true_clock: Clock) -> dict[str, Any]:
    return {"clock": true_clock.timestamp}


async def in_every_stage(room: Room, true_clock: Clock) -> list[Job]:
    """Make a job for each moment that is written ahead: a poll, a lost answer, a save, a lease, a hold."""
    kinds = ["Polled", "Lost [[fault:reset-after]]", "Saved [[fault:truncated-video=1]]"]
    made = [await room.create(kind) for kind in kinds]
    await room.submit()
    true_clock.pass_seconds(60)
    room.clock.pass_seconds(60)
    await room.beat("poller", "saver")
    assert (await room.seen(made[-1])).state is JobState.SAVING
    made.append(await room.create("Polled later"))
    await room.submit()
    lease = Lease("dead", room.clock.now + timedelta(seconds=60))
    made.append(await room.create("Leased"))
    [(job, _)] = await room.db.write(
        lambda conn: claims.admit(
            conn, now=room.clock.now, max_in_flight=9, lease=lease, worker="dead", deployment=DEPLOYMENT
        )
    )
    assert job.id == made[-1].id
    made.append(await room.create("Held [[fault:429=60*1]]"))
    await room.beat("submitter")
    assert (await room.db.read(gate.reasons))[0] == "upstream_rate_limited"
    return made


async def work(room: Room, true_clock: Clock, *, seconds: int) -> None:
    for _ in range(seconds // 20):
        await room.beat("sweeper", "prober", "submitter", "reconciler", "poller", "saver")
        room.clock.pass_seconds(20)
        true_clock.pass_seconds(20)


@pytest.mark.parametrize("jump", [-TWO_HOURS, TWO_HOURS])
async def test_clock_set__everything_ends_soon_and_is_bought_once(room: Room, true_clock: Clock, jump: float) -> None:
    made = await in_every_stage(room, true_clock)
    room.clock.pass_seconds(jump)
    await work(room, true_clock, seconds=SOON_SECONDS)
    seen = [await room.seen(job) for job in made]
    assert {job.state for job in seen} == {JobState.SUCCEEDED}, [(job.input, job.state, job.due_at) for job in seen]
    bought_for = [sale["client_request_id"].split(":")[2] for sale in room.sold()]
    assert sorted(bought_for) == sorted(job.id for job in made)


async def test_clock_set_back__learned_polls_go_on(room: Room, true_clock: Clock) -> None:
    room.poller = Poller(room.db, room.upstream)
    job = await room.create()
    await room.submit()
    room.clock.pass_seconds(-TWO_HOURS)
    await work(room, true_clock, seconds=SOON_SECONDS)
    assert (await room.seen(job)).state is JobState.SUCCEEDED


async def test_clock_set_back__a_hold_ends_with_the_next_good_answer(room: Room, true_clock: Clock) -> None:
    job = await room.create("A boat [[fault:429=60*1]]")
    await room.beat("submitter")
    room.clock.pass_seconds(-TWO_HOURS)
    await work(room, true_clock, seconds=200)
    assert (await room.seen(job)).state is JobState.SUCCEEDED
    assert (await room.db.read(gate.reasons)) == (None, {})


async def test_clock_set_right__what_was_lost_under_it_is_looked_for_further_back(
    room: Room, true_clock: Clock
) -> None:
    await room.beat("reconciler")
    room.clock.pass_seconds(TWO_HOURS)
    job = await room.create("A boat [[fault:reset-after]]")
    await room.submit()
    true_clock.pass_seconds(1800)
    room.clock.pass_seconds(1800 - TWO_HOURS)
    await room.beat("sweeper", "reconciler")
    assert (await room.seen(job)).state is JobState.GENERATING


async def test_poller__sleeps_until_the_next_poll_is_due(room: Room) -> None:
    await room.create()
    await room.submit()
    assert room.poller.interval_seconds == 0.5
    room.clock.pass_seconds(9.8)
    assert not await room.poller.run_once()
    assert room.poller.interval_seconds == pytest.approx(0.2)
