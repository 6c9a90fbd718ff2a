"""A page of a listed origin, with a client token: it uploads, creates, watches and plays, and nothing else."""

import json
from typing import Any

import pytest

from tests.browser.chromium import Page
from tests.browser.conftest import Reelay
from tests.browser.sites import Site

JSON = {"Content-Type": "application/json"}
INPUT = {"prompt": "The sailboat drifts on.", "image_url": "https://example.com/boat.jpg"}


@pytest.fixture
def token(reelay: Reelay, shop: Site) -> str:
    return reelay.mint(max_jobs=1, origins=[shop.origin])


def body_of(seen: dict[str, Any], status: int) -> Any:
    assert seen.get("status") == status, seen
    return json.loads(seen["text"])


def code_of(seen: dict[str, Any], status: int) -> str:
    """Return the code of a refusal that the page could read, with the request's id."""
    assert seen["headers"]["x-request-id"]
    code: str = body_of(seen, status)["error"]["code"]
    return code


def test_shop_page__uploads_creates_waits_and_plays(shop_page: Page, reelay: Reelay, token: str) -> None:
    uploaded = shop_page.run("upload", reelay.base, token)
    file = body_of(uploaded, 201)
    assert uploaded["headers"]["location"] == f"/v1/files/{file['id']}"
    order = {"input": {"prompt": "The sailboat drifts on.", "image_url": file["id"]}, "metadata": {"order": "A-1"}}
    asked = {"method": "POST", "token": token, "json": order, "headers": {"Idempotency-Key": "A-1"}}
    created = shop_page.run("ask", f"{reelay.base}/v1/jobs", asked)
    job = body_of(created, 201)
    again = shop_page.run("ask", f"{reelay.base}/v1/jobs", asked)
    assert (body_of(again, 201)["id"], again["headers"]["idempotent-replayed"]) == (job["id"], "true")
    first, *between, last = shop_page.run("follow", reelay.base, token, job["id"])
    assert {"etag", "retry-after", "x-request-id", "x-ratelimit-remaining-requests"} <= first["headers"].keys()
    assert {answer["status"] for answer in between} <= {200, 304}
    job = body_of(last, 200)
    assert (job["status"], "retry-after" in last["headers"]) == ("succeeded", False)
    shown = shop_page.run("play", job["video"]["url"])
    assert (shown["after"], round(shown["seconds"]), shown["size"]) == ("seeked", 5, [1280, 720])
    assert 3.5 < shown["at"] < 5
    assert shop_page.run("load", "img", job["video"]["poster_url"]) == "load"
    # A page that may read answers may also read pixels; without asking for that it may not.
    assert shown["pixel"] == "SecurityError"
    assert len(shop_page.run("play", job["video"]["url"], {"crossOrigin": "anonymous"})["pixel"]) == 4


def test_shop_page__does_nothing_else(shop_page: Page, reelay: Reelay, token: str) -> None:
    others = reelay.post("/v1/jobs", {"input": INPUT})["id"]
    mine = body_of(order(shop_page, reelay, token), 201)["id"]
    before = reelay.jobs()
    assert code_of(order(shop_page, reelay, token), 429) == "token_jobs_spent"
    refused = {
        ("POST", "/v1/tokens"): (403, "key_required"),
        ("GET", "/v1/tokens"): (403, "key_required"),
        ("DELETE", "/v1/tokens/tok_1"): (403, "key_required"),
        ("GET", "/v1/admin/jobs"): (403, "missing_scope"),
        ("POST", "/v1/admin/upstream/resume"): (403, "missing_scope"),
        ("GET", f"/v1/jobs/{others}"): (404, "not_found"),
        ("GET", f"/v1/jobs/{others}/content"): (404, "not_found"),
        ("POST", f"/v1/jobs/{others}/cancel"): (404, "not_found"),
        ("DELETE", f"/v1/jobs/{others}"): (404, "not_found"),
    }
    for (method, path), (status, code) in refused.items():
        seen = shop_page.run("ask", reelay.base + path, {"method": method, "token": token})
        assert code_of(seen, status) == code, path
    listed = body_of(shop_page.run("ask", f"{reelay.base}/v1/jobs", {"token": token}), 200)
    assert [job["id"] for job in listed["data"]] == [mine]
    used = body_of(shop_page.run("ask", f"{reelay.base}/v1/usage", {"token": token}), 200)
    assert used["total"]["jobs"] == 1 < len(before)
    assert reelay.jobs() == before


def order(page: Page, reelay: Reelay, token: str) -> dict[str, Any]:
    asked = {"method": "POST", "token": token, "json": {"input": INPUT}}
    seen: dict[str, Any] = page.run("ask", f"{reelay.base}/v1/jobs", asked)
    return seen


def test_shop_page__reads_every_refusal(shop_page: Page, reelay: Reelay, stranger: Site, token: str) -> None:
    elsewhere = reelay.mint(origins=[stranger.origin])
    jobs = f"{reelay.base}/v1/jobs"
    refused: list[tuple[str, dict[str, Any], int, str]] = [
        (jobs, {}, 401, "missing_api_key"),
        (jobs, {"token": "rlt_nothing"}, 401, "invalid_api_key"),
        (jobs, {"token": elsewhere}, 403, "origin_not_allowed"),
        (f"{reelay.base}/v1/nothing", {"token": token}, 404, "not_found"),
        (f"{jobs}?after={'x' * 9000}", {"token": token}, 400, "url_too_long"),
        (f"{reelay.base}/v1/models", {"token": token, "method": "DELETE"}, 405, "method_not_allowed"),
        (jobs, {"token": token, "method": "POST", "big": 40 << 20, "headers": JSON}, 413, "payload_too_large"),
        (jobs, {"token": token, "method": "POST", "body": "input"}, 415, "unsupported_media_type"),
        (jobs, {"token": token, "method": "POST", "json": {"input": {}}}, 400, "invalid_input"),
    ]
    for url, options, status, code in refused:
        assert code_of(shop_page.run("ask", url, options), status) == code


@pytest.mark.parametrize(
    "odd",
    [
        {"method": "PUT"},
        {"method": "PROPFIND"},
        {"headers": {"X-Evil": "1"}},
        {"headers": {"X-Forwarded-For": "127.0.0.1"}},
        {"credentials": "include"},
    ],
    ids=str,
)
def test_shop_page__is_refused_what_no_page_needs(
    shop_page: Page, reelay: Reelay, token: str, odd: dict[str, Any]
) -> None:
    assert shop_page.run("ask", f"{reelay.base}/v1/jobs", {"token": token})["status"] == 200
    assert shop_page.run("ask", f"{reelay.base}/v1/jobs", {"token": token} | odd) == {"failed": "TypeError"}
