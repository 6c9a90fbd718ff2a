"""Holds: what must wait waits, says why, is asked after for free, and goes on by itself."""

from datetime import timedelta
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from app.db import claims, gate
from app.domain.states import JobState
from app.upstream.client import UpstreamClient
from app.workers.balance import Accountant
from tests.conftest import one_database
from tests.workers.conftest import T0, Room


def set_faults(room: Room, **odds: Any) -> None:
    chances = {name.replace("_", "-"): {"probability": 1.0} for name in odds}
    httpx2.put(f"{room.url}/_sandbox/faults", json=chances).raise_for_status()


def set_balance(room: Room, usd: float) -> None:
    httpx2.put(f"{room.url}/_sandbox/balance", json={"usd": usd}).raise_for_status()


def asked(room: Room) -> dict[str, int]:
    counted: dict[str, int] = httpx2.get(f"{room.url}/_sandbox/stats").json()["requests"]
    return counted


async def test_out_of_credits__holds_all_until_the_balance_covers_the_job(room: Room) -> None:
    set_balance(room, 1.0)
    given = {"estimated_micros": 2_500_000, "estimate_basis": "price_list"}
    job, other = await room.create("A boat", **given), await room.create("A ship", **given)
    await room.beat("submitter")
    assert (await room.db.read(gate.reasons)) == ("upstream_out_of_credits", {})
    posted = asked(room)["submit"]
    for _ in range(5):
        room.clock.pass_seconds(601)
        await room.beat("prober", "submitter")
    assert asked(room)["submit"] == posted, "no job is risked while the balance is too low"
    set_balance(room, 100.0)
    room.clock.pass_seconds(601)
    await room.to_the_end(rounds=4)
    assert {(await room.seen(one)).state for one in (job, other)} == {JobState.SUCCEEDED}
    assert (await room.db.read(gate.reasons)) == (None, {})


async def test_bad_key__is_found_well_by_a_free_look(room: Room) -> None:
    job = await room.create("A boat [[fault:401*1]]")
    await room.beat("submitter")
    assert (await room.db.read(gate.reasons))[0] == "upstream_key_refused"
    room.clock.pass_seconds(29)
    await room.beat("prober", "submitter")
    assert (await room.seen(job)).state is JobState.QUEUED
    room.clock.pass_seconds(1)
    await room.beat("prober", "submitter")
    assert (await room.seen(job)).state is JobState.GENERATING


async def test_forbidden_model__holds_alone_and_is_rejected_after_three(room: Room) -> None:
    job = await room.create("A boat [[fault:403]]")
    behind = await room.create("A raft")
    await room.beat("submitter")
    # The second went along with the first, before anybody knew; what comes now waits, and other models do not.
    waiting = await room.create("A barge")
    other = await room.create("A ship", model="google/veo-3.1-t2v", input={"prompt": "A ship"})
    await room.beat("submitter")
    assert (await room.seen(behind)).state is JobState.GENERATING
    assert (await room.seen(waiting)).state is JobState.QUEUED
    assert (await room.seen(other)).state is JobState.GENERATING
    assert (await room.db.read(gate.reasons)) == (None, {"veo2": "model_forbidden"})
    room.clock.pass_seconds(31)
    await room.beat("submitter")
    held = (await room.db.read(gate.held_models))["veo2"]
    assert (held.level, held.held_until - room.clock.now) == (2, timedelta(seconds=60)), "twice as long each time"
    room.clock.pass_seconds(61)
    await room.beat("submitter")
    seen = await room.seen(job)
    assert (seen.state, seen.error_code, seen.attempts) == (JobState.FAILED, "upstream_rejected", 3)
    room.clock.pass_seconds(121)
    await room.to_the_end(rounds=5)
    assert (await room.seen(waiting)).state is JobState.SUCCEEDED
    assert (await room.db.read(gate.reasons)) == (None, {})


async def test_maintenance__holds_after_three_in_doubt_and_resumes(room: Room) -> None:
    set_faults(room, **{"503-bare": 1, "billing-503-bare": 1})
    made = [await room.create(f"Clip {number}") for number in range(9)]
    for _ in range(10):
        await room.beat("prober", "submitter")
        room.clock.pass_seconds(20)
    states = [(await room.seen(job)).state for job in made]
    assert states.count(JobState.UNCONFIRMED) == 5, "only what left together"
    assert (await room.db.read(gate.reasons))[0] == "upstream_failing"
    set_faults(room)
    room.clock.pass_seconds(61)
    last = room.another_submitter(max_in_flight=20)
    for _ in range(3):
        await room.beat("prober")
        await last.run_once()
        await last.crew.drain()
        room.clock.pass_seconds(2)
    states = [(await room.seen(job)).state for job in made]
    assert states.count(JobState.GENERATING) == 4
    assert (await room.db.read(gate.reasons))[0] is None


async def test_trial__that_ends_in_doubt_lets_the_others_go_on(room: Room) -> None:
    """Its worker was killed: nobody waits minutes for what it would have heard."""
    await room.create("A boat [[fault:401*1]]")
    await room.beat("submitter")
    room.clock.pass_seconds(31)
    await room.beat("prober")
    [(job, submission)] = await room.db.write(room.submitter._admit)
    await room.db.write(lambda conn: room.submitter._mark_sending(conn, job, submission))
    room.clock.pass_seconds(61)
    await room.beat("sweeper")
    held = await room.db.read(gate.read)
    assert held.held_until is not None
    assert (held.held_until - room.clock.now).total_seconds() <= 20
    assert held.probe_first


async def test_unreachable__a_look_comes_before_a_job(room: Room) -> None:
    set_faults(room, **{"billing-500": 1})
    await room.db.write(
        lambda conn: gate.hold(
            conn, now=room.clock.now, until=room.clock.now, reason="upstream_unreachable", probe_first=True
        )
    )
    await room.create("A boat")
    for _ in range(4):
        await room.beat("prober", "submitter")
        room.clock.pass_seconds(61)
    assert asked(room).get("submit", 0) == 0
    held = await room.db.read(gate.read)
    assert (held.hold_reason, held.hold_level) == ("upstream_unreachable", 5)


async def test_rate_limit__slows_all_replicas_and_recovers(room: Room) -> None:
    set_faults(room, **{"429": 1})
    for number in range(40):
        await room.create(f"Clip {number}")
    await room.beat("submitter")
    assert (await room.db.read(gate.read)).pace_per_minute == 30
    set_faults(room)
    first, second = room.another_submitter(max_in_flight=100), room.another_submitter(max_in_flight=100)
    room.clock.pass_seconds(5)
    await first.run_once()
    await first.crew.drain()
    sold = []
    for _ in range(10):
        for submitter in (first, second):
            await submitter.run_once()
            await submitter.crew.drain()
        sold.append(len(room.sold()))
        room.clock.pass_seconds(1)
    assert sold[-1] <= 1 + 10 * 1, "about one every two seconds, both together"
    paces = (await room.db.read(gate.read)).pace_per_minute or 0
    assert paces > 30
    for _ in range(60):
        await first.run_once()
        await first.crew.drain()
        room.clock.pass_seconds(3)
    assert len(room.sold()) == 40


async def test_resume__by_hand_ends_every_hold(room: Room) -> None:
    await room.create("A boat [[fault:401*1]]")
    await room.beat("submitter")

    def resume(conn: Any) -> None:
        gate.open_again(conn)
        gate.release_model(conn)

    await room.db.write(resume)
    await room.beat("submitter")
    assert await room.db.read(claims.places_taken) == 1


@one_database
@pytest.mark.parametrize("fault", ["poll-500", "poll-503-bare"])
async def test_polls__their_breaker_leaves_submissions_alone(room: Room, fault: str) -> None:
    for number in range(4):
        await room.create(f"Clip {number}")
    await room.submit()
    set_faults(room, **{fault: 1})
    for _ in range(5):
        room.clock.pass_seconds(11)
        await room.beat("poller")
    assert room.poller.breaker.room(9) == 0
    before = asked(room)["poll"]
    room.clock.pass_seconds(11)
    await room.beat("poller")
    assert asked(room)["poll"] == before
    job = await room.create("One more")
    await room.beat("submitter")
    assert (await room.seen(job)).state is JobState.GENERATING


async def test_pause__nothing_is_bought_until_it_ends_whatever_the_upstream_says(room: Room) -> None:
    under_way = await room.create("A boat")
    await room.submit()
    waiting = await room.create("A ship")
    assert await room.db.write(lambda conn: gate.pause(conn, by="ann", reason=None, now=room.clock.now))
    assert not await room.db.write(lambda conn: gate.pause(conn, by="bob", reason=None, now=room.clock.now))
    await room.to_the_end(rounds=4)
    assert (await room.seen(under_way)).state is JobState.SUCCEEDED, "what was bought is finished"
    assert ((await room.seen(waiting)).state, asked(room)["submit"]) == (JobState.QUEUED, 1)
    assert (await room.db.read(gate.read)).paused_by == "ann"
    await room.db.write(gate.resume)
    await room.submit()
    assert (await room.seen(waiting)).state is JobState.GENERATING


async def test_balance__is_kept_with_its_time_and_asked_for_once_by_all(room: Room) -> None:
    set_balance(room, 12.5)
    await room.beat("accountant")
    room.clock.pass_seconds(100)
    set_balance(room, 11.0)
    await room.beat("accountant")
    seen = await room.db.read(gate.read)
    assert (seen.balance_micros, seen.balance_at) == (12_500_000, T0)
    room.clock.pass_seconds(200)
    await room.beat("accountant")
    assert (await room.db.read(gate.read)).balance_micros == 11_000_000
    room.clock.pass_seconds(300)
    async with UpstreamClient(room.url, api_key=SecretStr("another-key")) as refused:
        await Accountant(room.db, refused).run_once()
    assert (await room.db.read(gate.read)).balance_micros == 11_000_000


async def test_hold__is_told_in_the_log_with_the_balance_kept_that_was_seen_meanwhile(room: Room) -> None:
    set_balance(room, 1.0)
    await room.create("A boat", estimated_micros=2_500_000, estimate_basis="price_list")
    with capture_logs() as lines:
        await room.beat("accountant", "prober", "submitter", "prober", "prober")
        set_balance(room, 2.0)
        room.clock.pass_seconds(31)
        await room.beat("prober")
        seen = (await room.db.read(gate.read)).balance_micros
        set_balance(room, 100.0)
        room.clock.pass_seconds(601)
        await room.beat("prober", "submitter", "prober", "prober")
    assert seen == 2_000_000
    told = [(line["event"], line.get("reason")) for line in lines if line["event"].startswith("submissions_")]
    assert told == [("submissions_held", "upstream_out_of_credits"), ("submissions_go_on", None)]
