"""Polling and results: time, words, URLs, ranges."""

import random
import statistics
from pathlib import Path

import pytest

from app.sandbox import SandboxConfig
from app.sandbox.generations import seconds_needed
from tests.sandbox.conftest import Box, OpenBox


async def test_fetch__goes_from_queued_over_generating_to_completed(box: Box) -> None:
    generation_id = await box.bought()
    seen = []
    for seconds in (0, 10, 60):
        box.wait(seconds)
        answer = (await box.poll(generation_id)).json()
        seen.append((answer["status"], "video" in answer))
    assert seen == [("queued", False), ("generating", False), ("completed", True)]


async def test_fetch__needs_key_and_a_known_id(box: Box) -> None:
    generation_id = await box.bought()
    assert (await box.poll(generation_id, authorization="Bearer wrong")).status_code == 401
    assert (await box.poll("unknown")).status_code == 404
    missing = await box.http.get("/v2/video/generations")
    assert missing.status_code == 400
    assert missing.json()["message"].startswith("Body validation error")


def test_seconds_needed__is_lognormal_and_scaled_by_speed(tmp_path: Path) -> None:
    rng = random.Random(7)
    config = SandboxConfig(data_dir=tmp_path)
    drawn = sorted(seconds_needed("veo2", config, {}, rng) for _ in range(4000))
    assert statistics.median(drawn) == pytest.approx(45, abs=0.5)
    assert drawn[3600] == pytest.approx(50, abs=0.7)
    fast = SandboxConfig(data_dir=tmp_path, speed=100)
    assert statistics.median(seconds_needed("veo2", fast, {}, rng) for _ in range(500)) == pytest.approx(0.45, abs=0.02)


async def test_result__is_a_real_file_behind_a_url_without_key(box: Box) -> None:
    answer = await box.finished()
    video = answer["video"]
    assert (video["content_type"], video["file_name"][-4:]) == ("video/mp4", ".mp4")
    assert video["url"].startswith("http://sandbox.test/results/")
    got = await box.http.get(video["url"], headers={"authorization": ""})
    assert (got.status_code, got.headers["content-type"]) == (200, "video/mp4")
    assert got.content[4:8] == b"ftyp"
    again = (await box.poll(answer["id"])).json()
    assert again["video"]["file_size"] == len(got.content)


async def test_result__answers_ranges_head_and_etag(box: Box) -> None:
    url = (await box.finished())["video"]["url"]
    whole = await box.http.get(url)
    part = await box.http.get(url, headers={"range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
    beyond = await box.http.get(url, headers={"range": "bytes=99999999-"})
    assert beyond.status_code == 416
    head = await box.http.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.content))
    assert head.headers["etag"] == whole.headers["etag"]
    assert head.headers["accept-ranges"] == "bytes"


async def test_result__url_expires_and_a_poll_renews_it(open_box: OpenBox) -> None:
    box = open_box(url_seconds=60)
    answer = await box.finished()
    box.wait(59)
    assert (await box.http.get(answer["video"]["url"])).status_code == 200
    box.wait(2)
    expired = await box.http.get(answer["video"]["url"])
    assert expired.status_code == 403
    assert "expired" in expired.text
    renewed = (await box.poll(answer["id"])).json()["video"]["url"]
    assert (await box.http.get(renewed)).status_code == 200


async def test_result__refuses_altered_urls(box: Box) -> None:
    url = (await box.finished())["video"]["url"]
    later = str(int(url.split("X-Expires=")[1].split("&")[0]) + 1)
    altered = url.replace(url.split("X-Expires=")[1].split("&")[0], later)
    for broken in (altered, url.split("?")[0], url[:-4] + "0000"):
        assert (await box.http.get(broken)).status_code == 403
    assert (await box.http.get(url.replace("/results/1/", "/results/2/"))).status_code == 404


async def test_result__url_follows_public_url(open_box: OpenBox) -> None:
    box = open_box(public_url="https://cdn.example.com/")
    assert (await box.finished())["video"]["url"].startswith("https://cdn.example.com/results/")


async def test_result__notes_a_key_that_leaks_to_it(box: Box) -> None:
    url = (await box.finished())["video"]["url"]
    box.http.headers.pop("authorization")
    await box.http.get(url)
    requests = (await box.http.get("/_sandbox/stats")).json()["requests"]
    assert (requests["video"], requests.get("video_with_key", 0)) == (1, 0)
    await box.http.get(url, headers={"authorization": "Bearer sandbox-key"})
    assert (await box.http.get("/_sandbox/stats")).json()["requests"]["video_with_key"] == 1
