"""The public model list, prices and metrics."""

import pytest

from app.catalogue.catalogue import load
from app.sandbox.prices import Price
from tests.sandbox.conftest import Box, OpenBox

ALL = "/v1/models?include=pricing,modalities,capabilities"


async def test_models__need_no_key_and_show_sections_only_when_asked(box: Box) -> None:
    del box.http.headers["authorization"]
    plain = (await box.http.get("/v1/models")).json()
    assert plain["object"] == "list"
    assert plain["data"][0].keys() == {"id", "aliases", "type", "info", "tags"}
    full = {entry["id"]: entry for entry in (await box.http.get(ALL)).json()["data"]}
    veo = full["google/veo2/image-to-video"]
    assert veo["aliases"] == ["veo2/image-to-video"]
    assert veo["type"] == "internal/video-generations/submit"
    assert veo["modalities"] == {"input": ["text", "image"], "output": ["video"]}
    assert veo["capabilities"] == ["image_to_video"]
    assert full["veo2"]["capabilities"] == ["text_to_video"]


async def test_models__prices_come_in_every_documented_kind(box: Box) -> None:
    found = {entry["id"]: entry["pricing"] for entry in (await box.http.get(ALL)).json()["data"]}
    second = {"name": "second", "measure": "second", "price": 0.5, "per": 1}
    assert found["veo2"] == {"kind": "fixed", "currency": "USD", "units": [second]}
    assert found["google/veo2/image-to-video"] == found["veo2"]
    assert found["minimax/hailuo-x"]["units"][0]["name"] == "video"
    assert found["elsewhere/talker"] == {"kind": "variable"}
    variants = found["klingai/v9-pro"]
    assert variants["dimensions"] == ["resolution"]
    assert [variant["when"]["resolution"] for variant in variants["variants"]] == ["720p", "1080p"]
    assert variants["variants"][0]["price"] < variants["variants"][1]["price"]


@pytest.mark.parametrize("resolution", ["720p", "1080p"])
async def test_charge__is_the_listed_price(box: Box, resolution: str) -> None:
    listed = {entry["id"]: entry["pricing"] for entry in (await box.http.get(ALL)).json()["data"]}["klingai/v9-pro"]
    price = next(v["price"] for v in listed["variants"] if v["when"]["resolution"] == resolution)
    await box.bought(model="klingai/v9-pro", resolution=resolution, duration=10)
    assert (await box.ledger())["purchases"][0]["cost_credits"] == round(price * 10 * 2_000_000)


async def test_charge__of_a_fixed_video_ignores_its_length(box: Box) -> None:
    listed = {entry["id"]: entry["pricing"] for entry in (await box.http.get(ALL)).json()["data"]}["minimax/hailuo-x"]
    await box.bought(model="minimax/hailuo-x")
    assert (await box.ledger())["purchases"][0]["cost_credits"] == round(listed["units"][0]["price"] * 2_000_000)


def test_prices__are_positive_for_every_model_we_ship() -> None:
    for model in load().models.values():
        assert Price(model).charge_credits({}) > 0
        assert Price(model).as_listed()["kind"] in ("fixed", "variants", "variable")


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("id=veo2/image-to-video", ["google/veo2/image-to-video"]),
        ("id=GOOGLE/veo2/image-to-video,veo2", ["google/veo2/image-to-video", "veo2"]),
        ("id=nothing", []),
        ("capabilities=image_to_video", ["google/veo2/image-to-video"]),
        ("output_modalities=video&capabilities=audio_to_video", ["elsewhere/talker"]),
        ("output_modalities=image", []),
    ],
)
async def test_models__are_filtered(box: Box, query: str, ids: list[str]) -> None:
    found = [entry["id"] for entry in (await box.http.get(f"/v1/models?{query}")).json()["data"]]
    assert sorted(found) == ids


async def test_models__answer_304_to_their_own_etag(box: Box) -> None:
    first = await box.http.get(ALL)
    etag = first.headers["etag"]
    again = await box.http.get(ALL, headers={"if-none-match": etag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert (await box.http.get(ALL, headers={"if-none-match": 'W/"other"'})).status_code == 200
    assert (await box.http.get("/v1/models")).headers["etag"] != etag


async def test_submit__takes_the_canonical_name(box: Box) -> None:
    await box.bought(model="google/veo2/image-to-video", image_url="https://example.com/a.png")
    assert (await box.ledger())["purchases"][0]["model"] == "veo2/image-to-video"


async def test_metrics__measure_what_succeeded_lately(open_box: OpenBox) -> None:
    box = open_box(max_in_flight=200)
    assert (await box.http.get("/models/metrics")).json()["models"] == []
    for number in range(60):
        await box.submit(f"{number}")
    await box.submit("[[fault:fail]]", model="openai/sora-9")
    box.wait(120)
    (row,) = (await box.http.get("/models/metrics")).json()["models"]
    duration = row["metrics"]["duration_ms"]
    assert row["alias"] == "veo2"
    assert 42_000 < duration["p50"] < 48_000
    assert duration["p50"] < duration["p75"] < duration["p90"] < duration["p99"]
    assert (await box.http.get("/models/metrics?aliases=openai/sora-9")).json()["models"] == []
    box.wait(600)
    assert (await box.http.get("/models/metrics")).json()["models"] == []
