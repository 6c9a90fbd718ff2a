"""One job from the queue to the stored video, and every way in which it ends."""

import asyncio
import hashlib
import io
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from app.db import deployment, files
from app.db.tables import price_list
from app.domain.errors import NotFound
from app.domain.states import JobState
from app.outbound.download import Downloaded
from app.workers import save
from app.workers.save import UNAVAILABLE_MESSAGE
from tests.conftest import one_database
from tests.media.takeover import take_over
from tests.workers.conftest import Room

STEPS = ["job.created", "job.submitting", "job.started", "job.saving", "job.succeeded"]


async def test_job__travels_from_queue_to_video(room: Room) -> None:
    job = await room.create()
    await room.to_the_end(rounds=3)
    done = await room.seen(job)
    assert done.state is JobState.SUCCEEDED
    assert await room.timeline(job) == STEPS
    assert (done.charged_micros, done.charge_basis, done.settled) == (2_500_000, "reported", True)
    assert done.video is not None
    data = await room.store.read(done.video["key"])
    assert (len(data), hashlib.sha256(data).hexdigest()) == (done.video["size_bytes"], done.video["sha256"])
    with av.open(io.BytesIO(data)) as film:
        shown = film.streams.video[0]
        assert (shown.width, shown.height) == (done.video["width"], done.video["height"])
    poster = Image.open(io.BytesIO(await room.store.read(done.video["poster_key"])))
    assert poster.format == "JPEG"
    assert done.result_url is None


@one_database
@pytest.mark.parametrize("deed", ["die_over_the_poster", "die", "spin", "hoard"])
async def test_job__a_result_that_takes_its_decoder_over_costs_what_it_would_have_told(
    room: Room, monkeypatch: pytest.MonkeyPatch, deed: str
) -> None:
    take_over(monkeypatch, deed)
    job = await room.create()
    await room.to_the_end(rounds=3)
    done = await room.seen(job)
    assert done.state is JobState.SUCCEEDED
    assert done.video is not None
    data = await room.store.read(done.video["key"])
    assert hashlib.sha256(data).hexdigest() == done.video["sha256"]
    assert done.video.get("poster_key") is None
    assert done.video.get("width") == (64 if deed == "die_over_the_poster" else None)


async def test_job__our_file_travels_inline(room: Room) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (64, 36), "teal").save(picture, "JPEG")
    file_id = await room.upload(picture.getvalue(), "image/jpeg")
    job = await room.create(model="veo2/image-to-video", input={"prompt": "A boat", "image_url": file_id})
    await room.to_the_end(rounds=3)
    assert (await room.seen(job)).state is JobState.SUCCEEDED
    assert (await room.seen(job)).input["image_url"] == file_id


async def test_job__an_upload_that_is_gone_fails_unbought(room: Room) -> None:
    job = await room.create(model="veo2/image-to-video", input={"prompt": "x", "image_url": "file_gone"})
    await room.beat("submitter")
    seen = await room.seen(job)
    assert (seen.state, seen.error_code, seen.billed) == (JobState.FAILED, "invalid_input", False)
    assert room.sold() == []


@pytest.mark.parametrize(
    ("fault", "code"),
    [("fail", "upstream_failed"), ("fail-detail", "content_filtered"), ("fail-string", "upstream_failed")],
)
async def test_generation__failed_upstream_is_not_billed(room: Room, fault: str, code: str) -> None:
    job = await room.create(f"A boat [[fault:{fault}]]")
    await room.to_the_end(rounds=3)
    seen = await room.seen(job)
    assert (seen.state, seen.error_code) == (JobState.FAILED, code)
    assert (seen.billed, seen.charged_micros, seen.settled) == (False, None, True)
    assert len(room.sold()) == 1


@one_database
@pytest.mark.parametrize("fault", ["unknown-status", "waiting-words", "lag-404=2", "poll-500=2", "poll-429=2"])
async def test_generation__odd_answers_are_only_waited_out(room: Room, fault: str) -> None:
    job = await room.create(f"A boat [[fault:{fault}]]")
    await room.to_the_end(rounds=6)
    assert (await room.seen(job)).state is JobState.SUCCEEDED
    assert len(room.sold()) == 1


async def test_generation__finished_without_a_video_fails_after_patience(room: Room) -> None:
    job = await room.create("A boat [[fault:no-url]]")
    await room.to_the_end(rounds=5)
    assert (await room.seen(job)).state is JobState.GENERATING
    await room.to_the_end(rounds=4)
    seen = await room.seen(job)
    assert (seen.state, seen.error_code, seen.billed) == (JobState.FAILED, "content_filtered", True)


async def test_generation__without_a_video_for_a_moment_ends_well(room: Room) -> None:
    job = await room.create("A boat [[fault:no-url=2]]")
    await room.to_the_end(rounds=6)
    assert (await room.seen(job)).state is JobState.SUCCEEDED


async def test_generation__lost_past_the_horizon_is_charged_as_estimated(room: Room) -> None:
    job = await room.create("A boat [[fault:lost]]", estimated_micros=2_500_000, estimate_basis="price_list")
    await room.to_the_end(rounds=3)
    assert (await room.seen(job)).state is JobState.GENERATING
    room.clock.pass_seconds(24 * 3600)
    await room.beat("poller")
    seen = await room.seen(job)
    assert (seen.state, seen.error_code, seen.billed) == (JobState.FAILED, "upstream_lost", True)
    assert seen.charged_micros == 2_500_000


@pytest.mark.parametrize("sandbox_options", [{"credits_reported": "never", "cost_headers": False}])
async def test_cost__never_reported_is_charged_as_estimated(room: Room, sandbox_options: dict[str, Any]) -> None:
    job = await room.create(estimated_micros=2_500_000, estimate_basis="price_list")
    await room.to_the_end(rounds=3)
    seen = await room.seen(job)
    assert (seen.charged_micros, seen.charge_basis, seen.settled) == (2_500_000, "estimated", True)
    assert sandbox_options["credits_reported"] == "never"


@one_database
@pytest.mark.parametrize("fault", ["expired-url=1", "truncated-video=1"])
async def test_save__a_bad_result_is_asked_for_anew(room: Room, fault: str) -> None:
    job = await room.create(f"A boat [[fault:{fault}]]")
    await room.to_the_end(rounds=6)
    seen = await room.seen(job)
    assert seen.state is JobState.SUCCEEDED
    assert seen.saves == 2


@one_database
@pytest.mark.parametrize("fault", ["mislabelled-video", "mislabelled-video=png", "video-404"])
async def test_save__what_stays_no_video_fails_and_was_billed(room: Room, fault: str) -> None:
    job = await room.create(f"A boat [[fault:{fault}]]")
    await room.to_the_end(rounds=14)
    seen = await room.seen(job)
    assert (seen.state, seen.error_code, seen.billed) == (JobState.FAILED, "result_unavailable", True)
    assert seen.error_message == UNAVAILABLE_MESSAGE
    assert list((room.media / "videos").glob("*")) == [] if (room.media / "videos").exists() else True


async def test_save__storage_away_only_delays(room: Room) -> None:
    job = await room.create()
    await room.submit()
    room.clock.pass_seconds(11)
    await room.beat("poller")
    (room.media / "videos").write_text("a file where a folder should be")
    await room.beat("saver")
    seen = await room.seen(job)
    assert (seen.state, seen.wait_reason, seen.lease_token) == (JobState.SAVING, "storage_unavailable", None)
    (room.media / "videos").unlink()
    room.clock.pass_seconds(11)
    await room.beat("saver")
    assert (await room.seen(job)).state is JobState.SUCCEEDED


async def test_cancel__bought_is_watched_until_its_cost_is_known(room: Room) -> None:
    job = await room.create()
    await room.submit()
    assert (await room.cancel(job)).state is JobState.ABANDONED
    room.clock.pass_seconds(11)
    await room.beat("poller")
    seen = await room.seen(job)
    assert (seen.state, seen.charged_micros, seen.billed) == (JobState.CANCELED, 2_500_000, True)
    assert await room.timeline(job) == ["job.created", "job.submitting", "job.started", "job.canceled", "job.settled"]


async def test_prices__are_kept_and_asked_for_by_etag(room: Room) -> None:
    await room.beat("prices", "prices")
    etag, rules = await room.db.read(deployment.read_prices)
    assert etag
    assert rules["veo2"]["kind"] == "fixed"
    listing = await room.db.read(deployment.read_listing)
    assert listing is not None
    assert ("google/veo2/image-to-video", ("veo2/image-to-video",)) in {(model.id, model.aliases) for model in listing}


async def test_prices__the_list_is_read_anew_where_an_older_build_kept_no_models(room: Room) -> None:
    await room.beat("prices")
    listing = await room.db.read(deployment.read_listing)
    with room.db.transaction() as conn:
        conn.execute(price_list.update().values(models=None))
    await room.beat("prices")
    assert listing
    assert await room.db.read(deployment.read_listing) == listing


async def test_save__storage_away_and_then_an_expired_url_still_ends_well(room: Room) -> None:
    """Our own trouble never counts against the result."""
    job = await room.create("A boat [[fault:expired-url=1]]")
    await room.submit()
    room.clock.pass_seconds(11)
    await room.beat("poller")
    (room.media / "videos").write_text("a file where a folder should be")
    for _ in range(7):
        await room.beat("saver")
        room.clock.pass_seconds(301)
    (room.media / "videos").unlink()
    await room.to_the_end(rounds=4)
    room.clock.pass_seconds(301)
    await room.beat("saver")
    assert (await room.seen(job)).state is JobState.SUCCEEDED


async def test_generation__an_outage_at_the_horizon_loses_nothing(room: Room) -> None:
    job = await room.create("A boat [[fault:poll-503-bare=3]]")
    await room.submit()
    room.clock.pass_seconds(25 * 3600)
    for _ in range(3):
        await room.beat("poller")
        room.clock.pass_seconds(11)
    assert (await room.seen(job)).state is JobState.GENERATING
    await room.beat("poller", "saver")
    assert (await room.seen(job)).state is JobState.SUCCEEDED


async def test_prompt__that_looks_like_a_file_is_only_text(room: Room) -> None:
    job = await room.create(input={"prompt": "file_under the bridge"})
    job_id = job.id
    await room.db.write(lambda conn: files.unlink(conn, job_id))
    await room.to_the_end(rounds=3)
    assert (await room.seen(job)).state is JobState.SUCCEEDED


async def test_retention__deletes_content_and_keeps_the_books(room: Room) -> None:
    job = await room.create()
    await room.to_the_end(rounds=3)
    room.clock.pass_seconds(8 * 24 * 3600)
    aside = room.media.rename(room.media.with_name("aside"))
    room.media.write_text("a file where the store should be")
    await room.beat("sweeper")
    room.media.unlink()
    aside.rename(room.media)
    assert list((room.media / "videos").iterdir()) != []
    await room.beat("sweeper")
    assert list((room.media / "videos").iterdir()) == []
    with pytest.raises(NotFound):
        await room.seen(job)


async def test_stop__does_not_wait_for_a_download_that_hangs(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(save, "STOP_SECONDS", 0.05)

    async def hanging(_url: str, _path: Path) -> Downloaded:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    job = await room.create()
    await room.submit()
    room.clock.pass_seconds(11)
    await room.beat("poller")
    saver = save.Saver(
        room.db, room.upstream, room.store, hanging, leasing=room.leasing, spool=room.media.with_name("spool")
    )
    await saver.run_once()
    async with asyncio.timeout(5):
        await saver.drain()
    assert (await room.seen(job)).state is JobState.SAVING
    room.clock.pass_seconds(61)
    await room.beat("saver")
    assert (await room.seen(job)).state is JobState.SUCCEEDED
