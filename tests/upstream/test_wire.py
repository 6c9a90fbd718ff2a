"""Provider JSON in, our types out."""

import json
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.upstream import wire
from app.upstream.wire import Balance, Generation, Malformed, Submitted

BARE = httpx2.Headers()
UUID = "0c4b5b2e-7f1d-4c7e-9d5c-1f5b8f1e2a3b"


def read(document: Any, headers: dict[str, str] | None = None) -> Submitted | None:
    return wire.read_submitted(document, body=json.dumps(document).encode(), headers=httpx2.Headers(headers))


def generation(**fields: Any) -> Generation:
    return wire.read_generation({"id": "g", "status": "completed"} | fields)


# Submissions


@pytest.mark.parametrize(
    ("document", "generation_id"),
    [
        ({"id": UUID, "status": "queued"}, UUID),
        ({"generation_id": f"{UUID}:veo2"}, f"{UUID}:veo2"),
        ({"id": 1234567890123, "status": "queued"}, "1234567890123"),
        ({"id": 0}, "0"),
        ({"id": None, "generation_id": "abc"}, "abc"),
        ({"id": "", "generation_id": "abc"}, "abc"),
        ({"id": {"no": "id"}, "generation_id": "abc"}, "abc"),
        ({"id": "x" * 255}, "x" * 255),
        ({"id": "ü-€"}, "ü-€"),
    ],
)
def test_read_submitted__takes_the_id(document: Any, generation_id: str) -> None:
    assert read(document) == Submitted(generation_id)


@pytest.mark.parametrize(
    "value", [None, "", "  ", True, False, 1.5, [], ["a"], {}, "x" * 256, "a\x00b", "a\ud800", "a\nb"]
)
def test_read_submitted__refuses_what_is_no_id(value: Any) -> None:
    assert read({"id": value}) is None
    assert read({"generation_id": value}) is None


@pytest.mark.parametrize("document", [[], [{"id": "a"}], "a", 1, None, {"data": {"id": "a"}}, {"ID": "a"}])
def test_read_submitted__wants_the_id_at_top_level(document: Any) -> None:
    assert read(document) is None


def test_read_submitted__answer_without_id_has_that_of_the_header() -> None:
    assert read({"status": "queued"}, {"x-inference-id": UUID}) == Submitted(UUID, inference_id=UUID)


def test_read_submitted__keeps_both_ids() -> None:
    assert read({"id": "a"}, {"x-inference-id": "b"}) == Submitted("a", inference_id="b")


@pytest.mark.parametrize(
    ("used", "amount"),
    [(1300000, 1300000), ("1300000", 1300000), (1.2, 2), (0, 0), (-1, None), ("x", None), (None, None), (True, None),
     (float("nan"), None), (float("inf"), None), (10**400, None), ([], None)],
)  # fmt: skip
def test_read_submitted__reads_credits(used: Any, amount: int | None) -> None:
    assert read({"id": "a", "meta": {"usage": {"credits_used": used}}}) == Submitted("a", credits=amount)
    assert generation(meta={"usage": {"credits_used": used}}).credits == amount


@pytest.mark.parametrize("meta", [None, 1, [], {"usage": None}, {"usage": []}, {"usage": {}}])
def test_read_submitted__credits_of_the_header_stand_in(meta: Any) -> None:
    assert read({"id": "a", "meta": meta}, {"x-aimlapi-credits-used": "7"}) == Submitted("a", credits=7)


def test_read_submitted__credits_of_the_body_come_first() -> None:
    document = {"id": "a", "meta": {"usage": {"credits_used": 0}}}
    assert read(document, {"x-aimlapi-credits-used": "7"}) == Submitted("a", credits=0)


# Generations


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("queued", "pending"),
        ("generating", "pending"),
        ("waiting", "pending"),
        ("active", "pending"),
        ("completed", "completed"),
        ("succeeded", "completed"),
        ("error", "failed"),
        ("Completed", "completed"),
        (" ERROR ", "failed"),
        ("marinating", "pending"),
    ],
)
def test_read_generation__knows_the_words(word: str, status: str) -> None:
    found = generation(status=word)
    assert (found.status, found.word) == (status, word.strip())


@pytest.mark.parametrize("document", [None, [], "completed", {}, {"status": None}, {"status": 3}, {"status": " "}])
def test_read_generation__needs_a_status(document: Any) -> None:
    with pytest.raises(Malformed):
        wire.read_generation(document)


LINK = "https://cdn.aimlapi.com/a.mp4?sig=%20x&y=1"


@pytest.mark.parametrize(
    ("video", "url"),
    [
        ({"url": LINK, "content_type": "video/mp4"}, LINK),
        (LINK, LINK),
        ([LINK], LINK),
        ([{"url": LINK}], LINK),
        ([None, {"url": ""}, {"url": LINK}], LINK),
        ("http://10.0.0.1/a.mp4", "http://10.0.0.1/a.mp4"),
        ("HTTPS://cdn.test/a.mp4", "HTTPS://cdn.test/a.mp4"),
        ({"url": f" {LINK}\n"}, LINK),
        (None, None),
        ({}, None),
        ({"url": None}, None),
        ({"url": 5}, None),
        ([], None),
        ("", None),
        ("/relative.mp4", None),
        ("ftp://cdn.test/a.mp4", None),
        ("file:///etc/passwd", None),
        ("javascript:alert(1)", None),
        ("https://cdn.test/a b.mp4", None),
        ("https://cdn.test/a\x00b.mp4", None),
        ("https://cdn.test/a\ud800b.mp4", None),
        ("https://cdn.test/" + "a" * 20_000, None),
        (5, None),
    ],
)
def test_read_generation__finds_the_video(video: Any, url: str | None) -> None:
    found = generation(video=video)
    assert (found.status, found.video_url) == ("completed", url)


def test_read_generation__without_video_is_still_completed() -> None:
    assert generation() == Generation("completed", "completed")


ERRORS = [
    (None, "upstream_failed", "The upstream gave no reason."),
    ({}, "upstream_failed", "The upstream gave no reason."),
    ("", "upstream_failed", "The upstream gave no reason."),
    (5, "upstream_failed", "The upstream gave no reason."),
    ("Out of memory", "upstream_failed", "Out of memory"),
    ({"name": "InternalError", "message": "It broke"}, "upstream_failed", "It broke"),
    ({"name": "InternalError"}, "upstream_failed", "InternalError"),
    ({"name": "SafetyError", "message": "Blocked"}, "content_filtered", "Blocked"),
    ({"name": "Error", "message": "Violates our usage policies."}, "content_filtered", "Violates our usage policies."),
    ({"name": "content_policy_violation"}, "content_filtered", "content_policy_violation"),
    ("Your request was flagged by moderation", "content_filtered", "Your request was flagged by moderation"),
    (
        {
            "detail": [
                {"loc": ["body", "image_url"], "msg": "No face found", "type": "face_detection_error", "input": "x"}
            ]
        },
        "content_filtered",
        "No face found",
    ),
    (
        {"detail": [{"msg": "Too small", "type": "value_error", "input": "a safety poster"}, {"msg": "Too wide"}]},
        "upstream_failed",
        "Too small; Too wide",
    ),
    ({"detail": "Not today"}, "upstream_failed", "Not today"),
    ({"error": {"message": "Inner"}}, "upstream_failed", "Inner"),
    ([{"message": "One"}, "two", None], "upstream_failed", "One; two"),
]


@pytest.mark.parametrize(("error", "code", "message"), ERRORS)
def test_read_generation__reads_every_shape_of_error(error: Any, code: str, message: str) -> None:
    found = generation(status="error", error=error)
    assert (found.status, found.error_code, found.error_message) == ("failed", code, message)


def test_read_generation__keeps_the_reason_for_a_missing_video() -> None:
    found = generation(video=None, error={"name": "SafetyFilter", "message": "Removed"})
    assert (found.status, found.error_code, found.error_message) == ("completed", "content_filtered", "Removed")


def test_read_generation__without_error_has_no_reason() -> None:
    assert generation(error=None).error_code is None


def test_read_generation__cleans_what_it_keeps() -> None:
    found = generation(status="wo\x00rd" + "x" * 900, error="data:image/png;base64,AAAA \x00 \ud800" + "y" * 900)
    assert len(found.word) == 500
    assert found.error_message is not None
    assert len(found.error_message) == 500
    assert found.error_message.startswith("data:…")
    assert not {"\x00", "\ud800"} & set(found.word + found.error_message)


def test_read_generation__survives_absurd_nesting() -> None:
    deep: Any = "bottom"
    for _ in range(5000):
        deep = [deep]
    found = generation(status="error", error=deep, video=deep)
    assert (found.error_message, found.video_url) == ("The upstream gave no reason.", None)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["url", "message", "detail", "msg", "usage", "credits_used", "error"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(json_values, json_values, json_values, json_values)
def test_read_generation__meets_anything(given_id: Any, video: Any, error: Any, meta: Any) -> None:
    document = {"id": given_id, "status": "error", "video": video, "error": error, "meta": meta}
    found = wire.read_generation(document)
    assert found.status == "failed"
    assert found.error_code in ("upstream_failed", "content_filtered")
    assert found.error_message
    assert found.credits is None or found.credits >= 0
    assert isinstance(wire.is_about(document, generation_id="g"), bool)


@pytest.mark.parametrize(
    ("document", "about"),
    [
        ({"id": "g"}, True),
        ({"generation_id": "g"}, True),
        ({"id": "row-1", "generation_id": "g"}, True),
        ({"id": "g:veo2"}, True),
        ({}, True),
        ({"id": None}, True),
        ({"id": "h"}, False),
        ({"id": "gg"}, False),
        ({"generation_id": 5}, False),
    ],
)
def test_is_about__compares_ids(document: Any, about: bool) -> None:
    assert wire.is_about(document, generation_id="g") is about


def test_is_about__knows_numbers_and_suffixes() -> None:
    assert wire.is_about({"id": 12}, generation_id="12")
    assert wire.is_about({"id": UUID}, generation_id=f"{UUID}:veo2")
    assert not wire.is_about({"id": f"{UUID}:veo3"}, generation_id=f"{UUID}:veo2")


# The balance


@pytest.mark.parametrize(
    ("document", "micros"),
    [
        ({"current_balance": 12.5}, 12_500_000),
        ({"current_balance": "0.1"}, 100_000),
        ({"current_balance": 0}, 0),
        ({"current_balance": -1.25}, -1_250_000),
        ({"current_balance": None}, None),
        ({"current_balance": {"usd": 1}}, None),
        ({"current_balance": float("nan")}, None),
        ({}, None),
        ([], None),
    ],
)
def test_read_balance__reads_dollars(document: Any, micros: int | None) -> None:
    assert wire.read_balance(document) == Balance(micros)
