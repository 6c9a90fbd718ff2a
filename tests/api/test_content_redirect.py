"""Downloads that are answered with a link into the storage, against a real S3 server."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from app.api import content
from app.api.callers import Caller
from app.api.deps import House
from app.db.engine import Database
from app.domain.states import JobState
from app.media.store import Store
from app.telemetry import Redactor
from tests.api.conftest import ClientFor, require_error
from tests.api.test_content import signed_urls
from tests.conftest import Clock
from tests.factories import VIDEO, make_job, picture, video_of
from tests.object_store import SECRET, S3Server


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture
async def house(house: House, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> House:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    store = Store.open(s3.url)
    return replace(house, store=store, content_origin=await store.link_origin())


@pytest.fixture
async def film(database: Database, me: Caller, house: House) -> str:
    """The address of a finished job's content, both objects stored."""
    job = make_job(database, me, state=JobState.SUCCEEDED)
    await house.store.put_bytes(video_of(job)["key"], VIDEO, content_type="video/mp4")
    await house.store.put_bytes(video_of(job)["poster_key"], picture(), content_type="image/jpeg")
    return f"/v1/jobs/{job.id}/content"


def lifetime(response: httpx2.Response) -> int:
    assert response.status_code == 302, response.text
    return int(parse_qs(urlsplit(response.headers["location"]).query)["X-Amz-Expires"][0])


async def test_redirect__leads_to_the_bytes(client: httpx2.AsyncClient, film: str, s3: S3Server) -> None:
    for variant, data, kind in (("video", VIDEO, "video/mp4"), ("poster", picture(), "image/jpeg")):
        response = await client.get(film, params={"variant": variant})
        assert (response.status_code, response.content) == (302, b"")
        assert response.headers["cache-control"] == "private, no-store"
        assert response.headers["location"].startswith(f"{s3.origin}/films/some/prefix/videos/")
        assert SECRET not in response.headers["location"]
        with httpx2.Client() as browser:
            found = browser.get(response.headers["location"])
        assert (found.status_code, found.content, found.headers["content-type"]) == (200, data, kind)


async def test_redirect__a_range_goes_along(client: httpx2.AsyncClient, film: str) -> None:
    wanted = {"Range": "bytes=10-19"}
    link = (await client.get(film, headers=wanted)).headers["location"]
    with httpx2.Client() as browser:
        part = browser.get(link, headers=wanted)
    assert (part.status_code, part.content) == (206, VIDEO[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(VIDEO)}"


async def test_redirect__head_304_and_download_are_answered_here(client: httpx2.AsyncClient, film: str) -> None:
    looked = await client.head(film)
    assert (looked.status_code, looked.headers["content-length"]) == (200, str(len(VIDEO)))
    known = await client.get(film, headers={"If-None-Match": looked.headers["etag"]})
    assert known.status_code == 304
    saved = await client.get(film, params={"download": "1"})
    assert (saved.status_code, saved.content) == (200, VIDEO)
    assert saved.headers["content-disposition"].startswith("attachment")


async def test_redirect__opens_for_a_quarter_of_an_hour(client: httpx2.AsyncClient, film: str) -> None:
    assert lifetime(await client.get(film)) == content.LINK_SECONDS == 900


async def test_redirect__ends_with_the_signed_url(
    client: httpx2.AsyncClient, client_for: ClientFor, film: str, clock: Clock, database: Database
) -> None:
    url, _ = await signed_urls(client, film)
    expires = int(parse_qs(urlsplit(url).query)["expires"][0])
    clock.offset += timedelta(seconds=expires - 100 - clock().timestamp())
    assert 95 <= lifetime(await client_for().get(url)) <= 100
    assert lifetime(await client.get(film)) == 900


async def test_redirect__ends_with_the_retention(client: httpx2.AsyncClient, film: str, clock: Clock) -> None:
    clock.move(days=30, seconds=-60)
    assert 50 <= lifetime(await client.get(film)) <= 60


async def test_redirect__missing_bytes_are_404(client: httpx2.AsyncClient, film: str, house: House) -> None:
    await house.store.delete(f"videos/{film.split('/')[3]}.mp4")
    require_error(await client.get(film), 404, code="content_missing")


@pytest.mark.parametrize("redirects", [True, False])
async def test_content__an_outage_is_503_and_ends(
    client: httpx2.AsyncClient, film: str, house: House, s3: S3Server, redirects: bool
) -> None:
    client._transport.app.state.house = house if redirects else replace(house, content_origin=None)
    s3.shut()
    away = await client.get(film)
    s3.open()
    require_error(away, 503, code="storage_unavailable")
    assert away.headers["retry-after"] == "5"
    assert (await client.get(film)).status_code == (302 if redirects else 200)


async def test_content__a_storage_that_hangs_is_503(
    client: httpx2.AsyncClient, film: str, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "STORAGE_SECONDS", 0.0)
    require_error(await client.get(film), 503, code="storage_unavailable")


async def test_redirect__the_page_may_show_what_the_links_lead_to(
    client_for: ClientFor, house: House, s3: S3Server
) -> None:
    policy = (await client_for().get("/")).headers["content-security-policy"]
    assert f"media-src 'self' blob: {s3.origin};" in policy
    assert f"img-src 'self' blob: data: {s3.origin};" in policy


async def test_redirect__its_link_is_redacted_in_logs(client: httpx2.AsyncClient, film: str) -> None:
    link = (await client.get(film)).headers["location"]
    signature = parse_qs(urlsplit(link).query)["X-Amz-Signature"][0]
    assert signature in link
    cleaned = Redactor().clean(f"the link {link} was asked for")
    assert signature not in cleaned and "tests%2F" not in cleaned


async def test_link__a_folder_has_none(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    await store.put_bytes("k", b"1", content_type="text/plain")
    assert (await store.link("k", seconds=60), await store.link_origin()) == (None, None)
