"""A page of an origin that Reelay does not list: whatever it holds and tries, it reads nothing and makes nothing."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.chromium import Page
from tests.browser.conftest import Reelay
from tests.browser.sites import Site

ORDER = {"input": {"prompt": "The sailboat drifts on.", "image_url": "https://example.com/boat.jpg"}}
NO_PAGE = "chrome-error://chromewebdata/"
"""What Chromium shows in place of a page that may not be framed."""
PUBLIC = ("/openapi.json", "/healthz")
UNREADABLE = {"failed": "TypeError"}
"""What `fetch` tells of an answer that a page may not see, as of no answer at all."""


@pytest.fixture(scope="module")
def video(reelay: Reelay) -> dict[str, Any]:
    """A video of the project."""
    job = reelay.client.post("/v1/jobs", json=ORDER, headers={"Prefer": "wait=60"}).raise_for_status().json()
    made: dict[str, Any] = job["video"]
    return made


@pytest.fixture(params=["token", "key"])
def secret(request: pytest.FixtureRequest, reelay: Reelay) -> str:
    """What the page was given, or has stolen."""
    return reelay.key if request.param == "key" else reelay.mint()


@pytest.fixture
def nothing_happens(reelay: Reelay, video: dict[str, Any], secret: str) -> Iterator[None]:
    """Check afterwards, on the service's side, that all was refused but what is public, and nothing made."""
    jobs, before = reelay.jobs(), len(reelay.served())
    yield
    assert reelay.jobs() == jobs
    asked = reelay.served()[before:]
    assert asked
    assert {status for _, path, status in asked if path not in PUBLIC} <= {401, 405}


def orders(base: str, secret: str) -> list[tuple[str, dict[str, Any]]]:
    """Return what a page may try with a secret."""
    plain = {"method": "POST", "body": json.dumps(ORDER), "headers": {"Content-Type": "text/plain"}}
    return [
        (f"{base}/v1/jobs", {"token": secret}),
        (f"{base}/v1/jobs", {"token": secret, "method": "POST", "json": ORDER}),
        (f"{base}/v1/jobs", {"token": secret, "method": "POST", "json": ORDER, "mode": "no-cors"}),
        (f"{base}/v1/jobs", {"token": secret, "method": "POST", "json": ORDER, "credentials": "include"}),
        (f"{base}/v1/jobs", {"token": secret} | plain),
        (f"{base}/v1/jobs", plain),
        (f"{base}/v1/tokens", {"token": secret, "method": "POST", "json": {}}),
        (f"{base}/v1/usage", {"token": secret}),
        (f"{base}/v1/admin/jobs", {"token": secret}),
        (f"{base}/v1/models", {"token": secret, "method": "PUT"}),
        (f"{base}/v1/models", {"token": secret, "headers": {"X-Evil": "1"}}),
        *((base + path, {}) for path in PUBLIC),
    ]


@pytest.mark.usefixtures("nothing_happens")
def test_strange_page__with_a_secret_reads_and_makes_nothing(strange_page: Page, reelay: Reelay, secret: str) -> None:
    for url, options in orders(reelay.base, secret):
        seen = strange_page.run("ask", url, options)
        if options.get("mode") == "no-cors":
            assert seen == {"status": 0, "type": "opaque", "headers": {}, "text": ""}
        else:
            assert seen == UNREADABLE, options
    assert strange_page.run("upload", reelay.base, secret) == UNREADABLE


@pytest.mark.usefixtures("nothing_happens")
def test_strange_page__what_needs_no_permission_is_sent_without_the_secret(
    strange_page: Page, reelay: Reelay, secret: str
) -> None:
    jobs = f"{reelay.base}/v1/jobs"
    before = len(reelay.served())
    hidden = {"token": secret, "mode": "no-cors", "method": "POST", "body": json.dumps(ORDER)}
    assert strange_page.run("ask", jobs, hidden)["type"] == "opaque"
    assert strange_page.run("upload", reelay.base, secret, {"mode": "no-cors"})["type"] == "opaque"
    assert strange_page.run("beacon", jobs, json.dumps(ORDER)) is True
    fields = {"model": "veo2/image-to-video", "key": secret, "Authorization": f"Bearer {secret}"} | ORDER["input"]
    for enctype in ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain"):
        assert strange_page.run("submit", jobs, enctype, fields) == "SecurityError"
    assert strange_page.run("load", "script", f"{jobs}?limit=1") == "error"
    assert strange_page.run("load", "img", f"{jobs}?limit=1") == "error"
    assert strange_page.run("load", "script", f"{reelay.base}/openapi.json") == "error"
    assert len(reelay.jobs()) > 0  # answered after all of those, and logged after them
    sent = [(path, status) for method, path, status in reelay.served()[before:] if method == "POST"]
    assert sorted(sent) == [("/v1/files", 401)] + [("/v1/jobs", 401)] * 5


@pytest.mark.usefixtures("nothing_happens")
@pytest.mark.parametrize("kind", ["sandbox", "data"])
@pytest.mark.parametrize("home", ["shop", "stranger"])
def test_null_origin__is_nobody(
    page: Page, reelay: Reelay, secret: str, kind: str, home: str, request: pytest.FixtureRequest
) -> None:
    site: Site = request.getfixturevalue(home)
    page.open(f"{site.origin}/visit.html")
    for url, options in orders(reelay.base, secret)[:2]:
        assert page.run("askFromNowhere", kind, url, options) == UNREADABLE | {"origin": "null"}


def test_strange_page__plays_a_link_that_it_was_given_and_reads_none_of_it(
    strange_page: Page, shop: Site, video: dict[str, Any]
) -> None:
    """A link is a permission to watch. It opens no pixel and no byte to the page around it."""
    assert strange_page.run("ask", video["url"]) == UNREADABLE
    assert strange_page.run("play", video["url"])["pixel"] == "SecurityError"
    assert "failed" in strange_page.run("play", video["url"], {"crossOrigin": "anonymous"})
    strange_page.open(f"{shop.origin}/visit.html")
    assert strange_page.run("ask", video["url"])["status"] == 200


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_strange_page__puts_no_page_of_ours_into_a_frame(
    strange_page: Page, reelay: Reelay, shop: Site, path: str
) -> None:
    """Not even an origin that may use the API."""
    assert strange_page.run("load", "iframe", f"{shop.origin}/visit.html") == "load"
    assert strange_page.frames() == [f"{shop.origin}/visit.html"]
    strange_page.run("load", "iframe", reelay.base + path)
    assert strange_page.frames() == [f"{shop.origin}/visit.html", NO_PAGE]
    strange_page.open(f"{shop.origin}/visit.html")
    strange_page.run("load", "iframe", reelay.base + path)
    assert strange_page.frames() == [NO_PAGE]
