"""Rows of the usage log: what can be told for certain, and nothing guessed."""

from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain.usage_log import own_attempt, same_model
from app.upstream.usage_log import read_log_page
from app.upstream.wire import Malformed

GOOD: dict[str, Any] = {
    "created": "2026-11-23T12:00:00.000Z",
    "status": "succeeded",
    "origin": "api",
    "model": "google/veo2/image-to-video",
    "cost": {"usd": 2.5, "credits": 5_000_000},
    "tokens": None,
    "request_id": "r1",
    "inference_id": "g1",
    "client_request_id": "rly:d1:job_01:1",
}


def page(*rows: Any, more: Any = False) -> dict[str, Any]:
    return {"data": list(rows), "pagination": {"limit": 100, "offset": 0, "total": len(rows), "has_more": more}}


def test_read__a_row() -> None:
    [row] = read_log_page(page(GOOD)).rows
    assert (row.request_id, row.inference_id, row.succeeded, row.credits) == ("rly:d1:job_01:1", "g1", True, 5_000_000)
    assert row.created_at == datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("odd", "name", "value"),
    [
        ({"status": "failed"}, "succeeded", False),
        ({"status": "Succeeded"}, "succeeded", True),
        ({"status": "pending"}, "succeeded", None),
        ({"status": None}, "succeeded", None),
        ({"created": "yesterday"}, "created_at", None),
        ({"created": 17}, "created_at", None),
        ({"inference_id": None}, "inference_id", None),
        ({"inference_id": 17}, "inference_id", "17"),
        ({"cost": None}, "credits", None),
        ({"cost": {"credits": "5000000.4"}}, "credits", 5_000_001),
        ({"cost": {"credits": -1}}, "credits", None),
        ({"client_request_id": None}, "request_id", ""),
        ({"client_request_id": 5}, "request_id", ""),
        ({"model": None}, "model", ""),
        ({"model": "a\x00b"}, "model", ""),
    ],
)
def test_read__tolerates_what_is_missing(odd: dict[str, Any], name: str, value: Any) -> None:
    [row] = read_log_page(page(GOOD | odd)).rows
    assert getattr(row, name) == value


@pytest.mark.parametrize(
    "answer",
    [None, [], {}, {"data": {}}, {"data": []}, {"data": [], "pagination": {}}, page(more="yes"), page(GOOD, "text")],
)
def test_read__what_does_not_say_whether_it_goes_on_is_no_page(answer: Any) -> None:
    with pytest.raises(Malformed):
        read_log_page(answer)


@pytest.mark.parametrize(
    ("text", "attempt"),
    [
        ("rly:d1:job_01ab:3", ("job_01ab", 3)),
        ("rly:d2:job_01ab:3", None),
        ("rly:d1:job_01ab:", None),
        ("rly:d1:job_01ab:3\n", None),
        ("xrly:d1:job_01ab:3", None),
        ("", None),
    ],
)
def test_own_attempt__only_of_this_deployment(text: str, attempt: tuple[str, int] | None) -> None:
    assert own_attempt(text, deployment="d1") == attempt


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ("veo2", "veo2", True),
        ("veo2/image-to-video", "google/veo2/image-to-video", True),
        ("google/veo-3.1-t2v", "veo-3.1-t2v", True),
        ("veo2", "google/veo-3.1-t2v", False),
        ("veo2", "notveo2", False),
    ],
)
def test_same_model__with_or_without_the_vendor(ours: str, theirs: str, same: bool) -> None:
    assert same_model(ours, theirs) is same
