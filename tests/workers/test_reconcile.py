"""The usage log tells what a lost answer did not: adopted, not bought, or nobody knows; never bought to find out."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from app.db import events, jobs, learning, log_reader, resolving, submissions
from app.db.jobs import Owner
from app.db.tables import strays
from app.domain.errors import Conflict
from app.domain.job import Job
from app.domain.states import JobState
from app.domain.usage_log import LoggedRequest
from app.upstream import usage_log
from tests.workers.conftest import DEPLOYMENT, WINDOW_SECONDS, Room

BOUGHT = "A boat [[fault:reset-after]]"
UNBOUGHT = "A boat [[fault:reset-before*1]]"
OTHER_MODEL = "google/veo-3.1-t2v"
REFUSED = "A boat [[fault:503*1]]"


async def in_doubt(room: Room, prompt: str, **given: Any) -> Job:
    """Make a job whose answer was lost."""
    job = await room.create(prompt, **given)
    await room.beat("submitter")
    seen = await room.seen(job)
    assert seen.state is JobState.UNCONFIRMED
    return seen


async def search_in_vain(room: Room) -> None:
    """Let the reconciler read the log until its window is over."""
    for _ in range(WINDOW_SECONDS // 85 + 2):
        room.clock.pass_seconds(85)
        await room.beat("reconciler")


async def test_bought__is_adopted_and_ends_well(room: Room) -> None:
    job = await in_doubt(room, BOUGHT)
    room.clock.pass_seconds(60)
    await room.beat("reconciler")
    adopted = await room.seen(job)
    [purchase] = room.sold()
    assert (adopted.state, adopted.generation_id) == (JobState.GENERATING, purchase["generation_id"])
    await room.to_the_end(rounds=3)
    done = await room.seen(job)
    assert (done.state, done.charged_micros, done.attempts) == (JobState.SUCCEEDED, 2_500_000, 1)
    assert len(room.sold()) == 1
    started = [event for event in await _events(room, job) if event.type == "job.started"]
    assert [event.data["told_by"] for event in started] == ["usage_log"]


@pytest.mark.parametrize("sandbox_options", [{"log_lag_seconds": 1200.0}])
async def test_lag__proves_nothing(room: Room) -> None:
    job = await in_doubt(room, BOUGHT)
    for _ in range(12):
        room.clock.pass_seconds(85)
        await room.beat("reconciler")
    assert (await room.seen(job)).state is JobState.UNCONFIRMED
    room.clock.pass_seconds(1200)
    await room.beat("reconciler")
    assert (await room.seen(job)).state is JobState.GENERATING


async def test_failed_row__nothing_was_bought_and_the_job_goes_on(room: Room) -> None:
    job = await in_doubt(room, REFUSED)
    await room.beat("reconciler")
    seen = await room.seen(job)
    assert (seen.state, seen.wait_reason) == (JobState.QUEUED, "upstream_failed")
    room.clock.pass_seconds(31)
    await room.to_the_end(rounds=4)
    assert (await room.seen(job)).state is JobState.SUCCEEDED
    assert len(room.sold()) == 1


async def test_failed_row__three_times_and_the_job_is_rejected(room: Room) -> None:
    job = await room.create("A boat [[fault:503]]")
    for _ in range(12):
        await room.beat("prober", "submitter", "reconciler")
        room.clock.pass_seconds(65)
    seen = await room.seen(job)
    assert (seen.state, seen.error_code, seen.billed, seen.attempts) == (JobState.FAILED, "upstream_rejected", False, 3)
    assert room.sold() == []


@pytest.mark.parametrize("odd", [{"succeeded": True, "inference_id": None}, {"succeeded": None}])
async def test_unclear_row__is_no_proof_beside_a_failed_one(room: Room, odd: dict[str, Any]) -> None:
    """A purchase that names no id, or a word never seen before: nothing is bought again on the word of other rows."""
    job = await in_doubt(room, UNBOUGHT, on_unconfirmed="resubmit")
    request_id = f"rly:{DEPLOYMENT}:{job.id}:1"
    failed = LoggedRequest(
        request_id=request_id, inference_id="i1", succeeded=False, model="veo2", credits=0, created_at=None
    )

    def learn(conn: Any) -> str:
        rows = [failed, replace(failed, **odd)]
        return learning.learn(conn, rows, deployment=DEPLOYMENT, now=room.clock.now)

    assert await room.db.write(learn) == "unclear"
    await search_in_vain(room)
    seen = await room.seen(job)
    assert (seen.state, seen.wait_reason) == (JobState.UNCONFIRMED, "needs_operator")
    assert (await room.timeline(job)).count("job.unresolved") == 1


async def test_no_row__waits_for_a_person_and_gives_its_place_back(room: Room) -> None:
    job = await in_doubt(room, UNBOUGHT)
    assert await room.db.read(log_reader.counts) == log_reader.Counts(1, 0, 0, 0, None)
    await search_in_vain(room)
    seen = await room.seen(job)
    assert (seen.state, seen.wait_reason) == (JobState.UNCONFIRMED, "needs_operator")
    assert seen.search_ended_at is not None
    counts = await room.db.read(log_reader.counts)
    assert (counts.unconfirmed, counts.unresolved) == (1, 1)
    last = room.another_submitter(max_in_flight=1)
    other = await room.create("A ship")
    await last.run_once()
    await last.crew.drain()
    assert (await room.seen(other)).state is JobState.GENERATING
    assert (await room.seen(job)).attempts == 1


async def test_no_row__keeps_its_place_within_the_window(room: Room) -> None:
    await in_doubt(room, UNBOUGHT)
    room.clock.pass_seconds(600)
    await room.beat("reconciler")
    last = room.another_submitter(max_in_flight=1)
    other = await room.create("A ship")
    await last.run_once()
    assert (await room.seen(other)).state is JobState.QUEUED


async def test_resubmit__only_after_the_whole_window(room: Room) -> None:
    job = await in_doubt(room, UNBOUGHT, on_unconfirmed="resubmit")
    room.clock.pass_seconds(85)
    await room.beat("reconciler")
    assert (await room.seen(job)).state is JobState.UNCONFIRMED
    await search_in_vain(room)
    assert (await room.seen(job)).state is JobState.QUEUED
    await room.to_the_end(rounds=4)
    seen = await room.seen(job)
    assert (seen.state, seen.attempts, len(room.sold())) == (JobState.SUCCEEDED, 2, 1)


async def test_window__an_outage_of_the_log_counts_for_nothing(room: Room) -> None:
    job = await in_doubt(room, UNBOUGHT)
    await room.beat("reconciler")
    httpx2.put(f"{room.url}/_sandbox/faults", json={"logs-500": {"probability": 1.0}}).raise_for_status()
    for _ in range(10):
        room.clock.pass_seconds(WINDOW_SECONDS)
        await room.beat("reconciler")
    httpx2.put(f"{room.url}/_sandbox/faults", json={}).raise_for_status()
    room.clock.pass_seconds(60)
    await room.beat("reconciler")
    assert (await room.seen(job)).search_ended_at is None
    await search_in_vain(room)
    assert (await room.seen(job)).search_ended_at is not None


async def test_window__another_keys_log_counts_for_nothing(room: Room) -> None:
    job = await in_doubt(room, UNBOUGHT)
    await room.db.write(lambda conn: _change_key(conn, job))
    await search_in_vain(room)
    assert (await room.seen(job)).search_ended_at is None


def _change_key(conn: Any, job: Job) -> None:
    table = submissions.submissions
    conn.execute(table.update().where(table.c.job_id == job.id).values(key_print="another"))


async def test_two_purchases_of_one_submission__one_is_adopted_one_booked(room: Room) -> None:
    """Something between us and the upstream sent our request twice."""
    job = await in_doubt(room, BOUGHT)
    [purchase] = room.sold()
    _post_again(room, purchase)
    room.clock.pass_seconds(60)
    await room.beat("reconciler")
    await room.to_the_end(rounds=3)
    seen = await room.seen(job)
    assert (seen.state, seen.charged_micros, seen.extra_micros) == (JobState.SUCCEEDED, 2_500_000, 2_500_000)
    assert (await room.timeline(job)).count("job.extra_charge") == 1
    room.clock.pass_seconds(3600)
    await room.beat("reconciler")
    assert (await room.seen(job)).extra_micros == 2_500_000


def _post_again(room: Room, purchase: dict[str, Any]) -> None:
    httpx2.post(
        f"{room.url}/v2/video/generations",
        headers={"Authorization": "Bearer sandbox-key", "X-Client-Request-Id": purchase["client_request_id"]},
        json={"model": "veo2", "prompt": "A boat"},
    ).raise_for_status()


@pytest.mark.parametrize("spelt", ["the-very-id", "its-first-part", "the-inference-id"])
async def test_known_purchase__may_be_spelt_in_another_way(room: Room, spelt: str) -> None:
    """An answer names `UUID:model` and the log `UUID`, or the other way round: that is no second purchase."""
    job = await room.create("A boat")
    await room.beat("submitter")
    bought = await room.seen(job)
    assert bought.generation_id is not None
    names = {"the-very-id": bought.generation_id, "its-first-part": bought.generation_id.partition(":")[0]}

    def learn(conn: Any) -> str:
        submission = submissions.latest(conn, bought)
        row = LoggedRequest(
            request_id=submission.request_id,
            inference_id=names.get(spelt, submission.inference_id),
            succeeded=True,
            model="veo2",
            credits=5_000_000,
            created_at=room.clock.now,
        )
        return learning.learn(conn, [row], deployment=DEPLOYMENT, now=room.clock.now)

    assert ":" in bought.generation_id
    assert await room.db.write(learn) == "known"
    assert (await room.db.read(log_reader.counts)).strays == 0


async def test_doubtful__what_waits_for_a_person_hides_nothing(room: Room) -> None:
    first = await in_doubt(room, UNBOUGHT)
    await search_in_vain(room)
    second = await in_doubt(room, UNBOUGHT + " again")
    [(job, _)] = await room.db.read(lambda conn: log_reader.doubtful(conn, limit=1))
    assert (job.id, first.id < job.id) == (second.id, True)


async def test_purchase_of_an_unknown_job__is_booked_as_a_stray(room: Room) -> None:
    _post_again(room, {"client_request_id": f"rly:{DEPLOYMENT}:job_0123:1"})
    room.clock.pass_seconds(60)
    await room.beat("reconciler")
    await room.beat("reconciler")
    [stray] = await room.db.read(lambda conn: conn.execute(strays.select()).all())
    assert (stray.request_id, stray.job_id, stray.micros) == (f"rly:{DEPLOYMENT}:job_0123:1", None, 2_500_000)


async def test_foreign_rows__of_another_deployment_are_ignored(room: Room) -> None:
    for foreign in ("rly:other:job_0123:1", "their-own-id"):
        _post_again(room, {"client_request_id": foreign})
    room.clock.pass_seconds(60)
    await room.beat("reconciler")
    assert (await room.db.read(log_reader.counts)).strays == 0
    assert (await room.db.read(log_reader.counts)).read_at is not None


async def test_refused_by_mistake__is_adopted_before_it_is_bought_again(room: Room) -> None:
    """The upstream said 429 and bought all the same."""
    job = await room.create("A boat [[fault:429*1]]")
    await room.beat("submitter")
    assert (await room.seen(job)).state is JobState.QUEUED
    _post_again(room, {"client_request_id": f"rly:{DEPLOYMENT}:{job.id}:1"})
    room.clock.pass_seconds(1)
    await room.db.write(lambda conn: log_reader.park_state(conn, restored_from=None, parked_until=None))
    await room.beat("reconciler")
    seen = await room.seen(job)
    assert (seen.state, seen.attempts) == (JobState.GENERATING, 1)
    assert len(room.sold()) == 1


async def test_conflict__the_log_names_the_right_generation(room: Room) -> None:
    await room.create("A boat")
    await room.beat("submitter")
    job = await in_doubt(room, "A ship [[fault:repeat-id]]")
    room.clock.pass_seconds(60)
    await room.beat("reconciler")
    await room.to_the_end(rounds=3)
    seen = await room.seen(job)
    assert seen.state is JobState.SUCCEEDED
    assert seen.generation_id == room.sold()[1]["generation_id"]


async def test_abandoned__is_settled_to_its_real_cost(room: Room) -> None:
    job = await in_doubt(room, BOUGHT)
    assert (await room.cancel(job)).state is JobState.ABANDONED
    room.clock.pass_seconds(60)
    await room.beat("reconciler")
    await room.to_the_end(rounds=2)
    seen = await room.seen(job)
    assert (seen.state, seen.charged_micros, seen.charge_basis, seen.settled) == (
        JobState.CANCELED,
        2_500_000,
        "reported",
        True,
    )


async def test_abandoned__not_bought_costs_nothing(room: Room) -> None:
    job = await in_doubt(room, REFUSED)
    await room.cancel(job)
    await room.beat("reconciler")
    seen = await room.seen(job)
    assert (seen.state, seen.charged_micros, seen.settled) == (JobState.CANCELED, None, True)


async def test_abandoned__at_the_horizon_is_charged_as_estimated(room: Room) -> None:
    job = await in_doubt(room, UNBOUGHT, estimated_micros=2_500_000, estimate_basis="price_list")
    await room.cancel(job)
    await search_in_vain(room)
    assert (await room.seen(job)).state is JobState.ABANDONED
    room.clock.pass_seconds(24 * 3600)
    await room.beat("reconciler")
    seen = await room.seen(job)
    assert (seen.state, seen.charged_micros, seen.charge_basis) == (JobState.CANCELED, 2_500_000, "estimated")


async def test_pages__are_all_read_and_the_pace_is_kept(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """The purchase stands on the last of three pages: the log shows the newest first."""
    assert usage_log.PAGE_ROWS == 100
    for reader in ("app.upstream.client", "app.workers.reconcile"):
        monkeypatch.setattr(f"{reader}.PAGE_ROWS", 10)
    job = await in_doubt(room, BOUGHT)
    for number in range(23):
        _post_again(room, {"client_request_id": f"their-{number}"})
    room.clock.pass_seconds(60)
    await room.beat("reconciler")
    assert (await room.seen(job)).state is JobState.GENERATING
    state = await room.db.read(log_reader.state)
    assert state.reads_in_minute == 3


async def test_two_replicas__read_as_one(room: Room) -> None:
    await in_doubt(room, BOUGHT)
    read = await room.db.write(room.reconciler._claim)
    assert read is not None
    other = room.another_reconciler("w2")
    assert await room.db.write(other._claim) is None
    await room.db.write(lambda conn: log_reader.end_read(conn, reader="w"))
    room.clock.pass_seconds(31)
    assert await room.db.write(other._claim) is not None


async def test_reads__never_more_than_a_hundred_in_our_minute(room: Room) -> None:
    await in_doubt(room, BOUGHT)
    await room.db.write(room.reconciler._claim)

    def turn(conn: Any) -> bool | None:
        return log_reader.may_read_page(conn, reader="w", now=room.clock.now)

    assert [await room.db.write(turn) for _ in range(100)] == [True] * 100
    assert await room.db.write(turn) is False
    room.clock.pass_seconds(60)
    assert await room.db.write(turn) is True


async def claimed(room: Room, job: Job, generation_id: str) -> None:
    await room.db.write(
        lambda conn: resolving.claim_generation(
            conn, job.id, generation_id=generation_id, by="Ada (key_1)", now=room.clock.now
        )
    )


async def test_attach__is_checked_and_then_carried(room: Room) -> None:
    job = await in_doubt(room, UNBOUGHT)
    _post_again(room, {"client_request_id": "sent-by-hand"})
    [purchase] = room.sold()
    await claimed(room, job, purchase["generation_id"])
    await room.beat("reconciler")
    await room.to_the_end(rounds=3)
    seen = await room.seen(job)
    assert (seen.state, seen.generation_id) == (JobState.SUCCEEDED, purchase["generation_id"])
    assert (await room.timeline(job))[3:5] == ["job.attach_requested", "job.resolved"]


@pytest.mark.parametrize(
    ("generation_id", "word"),
    [("never-heard-of", "knows no such generation"), ("of-another-model", "not by veo2")],
)
async def test_attach__what_is_wrong_is_refused_with_the_reason(room: Room, generation_id: str, word: str) -> None:
    job = await in_doubt(room, UNBOUGHT)
    if generation_id == "of-another-model":
        httpx2.post(
            f"{room.url}/v2/video/generations",
            headers={"Authorization": "Bearer sandbox-key"},
            json={"model": OTHER_MODEL, "prompt": "A boat"},
        ).raise_for_status()
        generation_id = room.sold()[0]["generation_id"]
        room.clock.pass_seconds(600)
    await claimed(room, job, generation_id)
    await room.beat("reconciler")
    seen = await room.seen(job)
    assert (seen.state, seen.attachment) == (JobState.UNCONFIRMED, None)
    refused = [event for event in await _events(room, job) if event.type == "job.attach_refused"]
    assert word in refused[0].data["reason"]


async def _events(room: Room, job: Job) -> list[Any]:
    return await room.db.read(lambda conn: events.of_job(conn, job.id))


async def test_attach__a_generation_of_another_job_is_a_conflict(room: Room) -> None:
    other = await room.create("A ship")
    await room.beat("submitter")
    taken = (await room.seen(other)).generation_id or ""
    job = await in_doubt(room, UNBOUGHT)
    with pytest.raises(Conflict, match=other.id):
        await claimed(room, job, taken)


async def test_not_created__goes_back_to_the_queue_and_names_who_said_so(room: Room) -> None:
    job = await in_doubt(room, UNBOUGHT)
    await room.db.write(lambda conn: resolving.not_created(conn, job.id, by="Ada (key_1)", now=room.clock.now))
    assert (await room.seen(job)).state is JobState.QUEUED
    resolved = [event for event in await _events(room, job) if event.type == "job.resolved"]
    assert resolved[0].data == {"action": "not_created", "by": "Ada (key_1)"}
    await room.to_the_end(rounds=4)
    assert (await room.seen(job)).state is JobState.SUCCEEDED


async def test_not_created__settles_a_conflict_as_well(room: Room) -> None:
    await room.create("A boat")
    await room.beat("submitter")
    job = await in_doubt(room, "A ship [[fault:repeat-id]]")
    await room.db.write(lambda conn: resolving.not_created(conn, job.id, by="Ada", now=room.clock.now))
    assert (await room.seen(job)).state is JobState.QUEUED


async def test_give_up__fails_charged_as_estimated(room: Room) -> None:
    job = await in_doubt(room, UNBOUGHT, estimated_micros=2_500_000, estimate_basis="price_list")
    await room.db.write(lambda conn: resolving.give_up(conn, job.id, by="Ada", now=room.clock.now))
    seen = await room.seen(job)
    assert (seen.state, seen.error_code, seen.billed) == (JobState.FAILED, "submission_unconfirmed", True)
    assert (seen.charged_micros, seen.charge_basis, seen.settled) == (2_500_000, "estimated", True)


async def test_resolve__only_what_is_in_doubt(room: Room) -> None:
    job = await room.create("A boat")
    with pytest.raises(Conflict, match="nobody doubts"):
        await room.db.write(lambda conn: resolving.give_up(conn, job.id, by="Ada", now=room.clock.now))


async def test_given_up__a_late_row_is_booked_beside_it(room: Room) -> None:
    job = await in_doubt(room, BOUGHT, estimated_micros=2_500_000, estimate_basis="price_list")
    await room.db.write(lambda conn: resolving.give_up(conn, job.id, by="Ada", now=room.clock.now))
    room.clock.pass_seconds(60)
    await room.beat("reconciler")
    seen = await room.seen(job)
    assert seen.state is JobState.FAILED
    assert (seen.charged_micros, seen.extra_micros) == (2_500_000, 0)
    assert seen.charge_basis == "reported"


async def test_owner__of_an_operator_sees_every_project(room: Room) -> None:
    job = await in_doubt(room, UNBOUGHT)
    page = await room.db.read(
        lambda conn: jobs.page(conn, owner=Owner(project_id=None), filter=jobs.Filter(unresolved=True), limit=5)
    )
    assert page.jobs == []
    room.clock.now += timedelta(seconds=1)
    await search_in_vain(room)
    page = await room.db.read(
        lambda conn: jobs.page(conn, owner=Owner(project_id=None), filter=jobs.Filter(unresolved=True), limit=5)
    )
    assert [found.id for found in page.jobs] == [job.id]
