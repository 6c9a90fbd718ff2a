"""Browsers and pages of other origins: an exact list may, nobody else may, and nothing is ever sent by itself."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx2
import pytest
from fastapi import FastAPI

from app.api import routes
from app.api.deps import House
from app.db.engine import Database
from tests.api.conftest import ClientFor, require_error
from tests.factories import INPUT, make_caller

PAGE, OTHER = "https://app.example", "https://other.example:8443"
FOREIGN = ["https://evil.example", "http://app.example", f"{PAGE}.evil.example", f"{PAGE}:8443", "null", "*", ""]
LISTED: list[FastAPI] = []


@pytest.fixture
def database_kind() -> str:
    """All of this is decided before any database is asked."""
    return "sqlite"


@pytest.fixture
async def page(house: House, database: Database, client_for: ClientFor) -> AsyncIterator[httpx2.AsyncClient]:
    """A client with a key, of a service that allows two origins."""
    if not LISTED:
        LISTED.append(routes.build(replace(house, cors_origins=frozenset({PAGE, OTHER}))))
    LISTED[0].state.house = house
    yield client_for(make_caller(database)[1], app=LISTED[0])


def granted(response: httpx2.Response) -> dict[str, str]:
    """Return what the answer says to a browser that guards its pages."""
    return {name: value for name, value in response.headers.items() if name.startswith("access-control-")}


def words(text: str) -> set[str]:
    return {word.strip().lower() for word in text.split(",")}


def preflight(origin: str, *, method: str = "POST", headers: str = "authorization,content-type") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/files", "/v1/jobs/job_1/content", "/v1/no-such-thing"])
async def test_preflight__of_a_listed_page_is_granted_without_a_key(page: httpx2.AsyncClient, path: str) -> None:
    del page.headers["authorization"]
    asked = "authorization,content-type,idempotency-key,prefer,x-stainless-lang"
    answer = await page.options(path, headers=preflight(OTHER, headers=asked))
    assert (answer.status_code, answer.content) == (204, b"")
    given = granted(answer)
    assert given["access-control-allow-origin"] == OTHER
    assert words(asked) <= words(given["access-control-allow-headers"])
    assert {"get", "head", "post", "delete"} <= words(given["access-control-allow-methods"])
    assert int(given["access-control-max-age"]) == 600
    assert "access-control-allow-credentials" not in given
    assert words(answer.headers["vary"]) == {"origin", "access-control-request-headers"}
    assert answer.headers["x-request-id"]


async def test_preflight__is_granted_for_an_address_too_long(page: httpx2.AsyncClient) -> None:
    """So that the page can send the request, and read why it is refused."""
    answer = await page.options("/v1/jobs", params={"after": "x" * 9000}, headers=preflight(PAGE))
    assert (answer.status_code, granted(answer)["access-control-allow-origin"]) == (204, PAGE)


@pytest.mark.parametrize("asked", ["cookie", "x-evil", "x-stainless-a\tb", "x-stainless-*", "*"])
async def test_preflight__allows_no_header_beyond_ours(page: httpx2.AsyncClient, asked: str) -> None:
    answer = await page.options("/v1/jobs", headers=preflight(PAGE, headers=asked))
    assert asked not in answer.headers["access-control-allow-headers"]


@pytest.mark.parametrize("origin", FOREIGN)
async def test_foreign_page__is_granted_nothing(page: httpx2.AsyncClient, origin: str) -> None:
    asked = await page.options("/v1/jobs", headers=preflight(origin))
    require_error(asked, 405)
    read = await page.get("/v1/jobs", headers={"Origin": origin})
    for answer in (asked, read):
        assert granted(answer) == {}
        assert "origin" in words(answer.headers["vary"])


async def test_two_origins_at_once__are_none(page: httpx2.AsyncClient) -> None:
    headers = [("Origin", PAGE), ("Origin", OTHER)]
    assert granted(await page.get("/v1/jobs", headers=headers)) == {}


async def test_listed_page__reads_answers_and_refusals_and_their_headers(page: httpx2.AsyncClient) -> None:
    made = await page.post("/v1/jobs", json={"input": INPUT}, headers={"Origin": PAGE, "Idempotency-Key": "k"})
    assert made.status_code == 201
    answers = [
        made,
        await page.get("/v1/jobs/job_0", headers={"Origin": PAGE}),
        await page.get("/v1/jobs", headers={"Origin": PAGE, "Authorization": "Bearer rly_x"}),
        await page.get("/v1/jobs", params={"after": "x" * 9000}, headers={"Origin": PAGE}),
        await page.options("/v1/jobs", headers={"Origin": PAGE}),
    ]
    assert [answer.status_code for answer in answers] == [201, 404, 401, 400, 405]
    for answer in answers:
        given = granted(answer)
        assert given.pop("access-control-allow-origin") == PAGE
        shown = words(given.pop("access-control-expose-headers"))
        assert shown >= {"location", "etag", "retry-after", "x-request-id", "idempotent-replayed", "x-should-retry"}
        assert "last-event-id" in shown
        assert given == {}
        assert words(answer.headers["vary"]) == {"origin"}


async def test_broken_service__is_readable_too(page: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    del LISTED[0].state.house  # a fault that nobody foresaw
    answer = await page.get("/v1/jobs", headers={"Origin": PAGE})
    assert (answer.status_code, granted(answer)["access-control-allow-origin"]) == (500, PAGE)


async def test_without_a_list__nobody_is_told_anything(client: httpx2.AsyncClient) -> None:
    asked = await client.options("/v1/jobs", headers=preflight(PAGE))
    require_error(asked, 405)
    read = await client.get("/v1/jobs", headers={"Origin": PAGE})
    assert read.status_code == 200
    for answer in (asked, read):
        assert granted(answer) == {}
        assert "vary" not in answer.headers
