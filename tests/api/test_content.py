"""GET and HEAD /v1/jobs/{id}/content."""

import asyncio
from collections.abc import MutableMapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from fastapi import FastAPI

from app.api.callers import Caller
from app.api.deps import House
from app.db import access
from app.db.engine import Database
from app.db.tables import jobs
from app.domain.secrets import Scope
from app.domain.states import JobState
from tests.api.conftest import ClientFor, Ticks, require_error
from tests.conftest import Clock, one_database
from tests.factories import VIDEO, make_caller, make_job, picture, video_of

TAG = f'"{"5" * 64}"'


@pytest.fixture
async def film(database: Database, me: Caller, house: House) -> str:
    """The path of a finished job's content."""
    job = make_job(database, me, state=JobState.SUCCEEDED)
    await house.store.put_bytes(video_of(job)["key"], VIDEO, content_type="video/mp4")
    await house.store.put_bytes(video_of(job)["poster_key"], picture(), content_type="image/jpeg")
    return f"/v1/jobs/{job.id}/content"


async def test_content__is_the_video(client: httpx2.AsyncClient, film: str) -> None:
    response = await client.get(film)
    assert (response.status_code, response.content) == (200, VIDEO)
    job_id = film.split("/")[3]
    assert {name: response.headers[name] for name in ("etag", "content-type", "content-length", "accept-ranges")} == {
        "etag": TAG,
        "content-type": "video/mp4",
        "content-length": str(len(VIDEO)),
        "accept-ranges": "bytes",
    }
    assert response.headers["cache-control"].startswith("private, max-age=")
    assert response.headers["content-disposition"] == f'inline; filename="{job_id}.mp4"'
    assert response.headers["x-content-type-options"] == "nosniff"
    saved = await client.get(film, params={"download": "1"})
    assert saved.headers["content-disposition"] == f'attachment; filename="{job_id}.mp4"'


async def test_content__poster_has_its_own_tag(client: httpx2.AsyncClient, film: str) -> None:
    response = await client.get(film, params={"variant": "poster"})
    assert (response.content, response.headers["content-type"]) == (picture(), "image/jpeg")
    assert response.headers["etag"] != TAG
    again = await client.get(film, params={"variant": "poster"}, headers={"If-None-Match": TAG})
    assert again.status_code == 200


@one_database
async def test_content__head_tells_and_sends_nothing(client: httpx2.AsyncClient, film: str) -> None:
    got, looked = await client.get(film), await client.head(film, headers={"Range": "bytes=0-1"})
    assert (looked.status_code, looked.content) == (200, b"")
    same = ("etag", "content-type", "content-length", "accept-ranges", "cache-control", "content-disposition")
    assert [looked.headers[name] for name in same] == [got.headers[name] for name in same]


@one_database
async def test_content__unchanged_is_304(client: httpx2.AsyncClient, film: str) -> None:
    for known in (TAG, f'"x", W/{TAG}', "*"):
        response = await client.get(film, headers={"If-None-Match": known, "Range": "bytes=0-1"})
        assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", TAG)
    assert (await client.get(film, headers={"If-None-Match": '"x"'})).status_code == 200


@one_database
@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=10000-", 10_000, len(VIDEO)),
        ("bytes=-16", len(VIDEO) - 16, len(VIDEO)),
        ("bytes=-99999", 0, len(VIDEO)),
        ("bytes=10-99999", 10, len(VIDEO)),
        ("BYTES= 10-19", 10, 20),
        ("bytes=0-" + "9" * 5000, 0, len(VIDEO)),
    ],
)
async def test_content__part_of_it(client: httpx2.AsyncClient, film: str, asked: str, start: int, end: int) -> None:
    response = await client.get(film, headers={"Range": asked})
    assert (response.status_code, response.content) == (206, VIDEO[start:end])
    assert response.headers["content-range"] == f"bytes {start}-{end - 1}/{len(VIDEO)}"
    assert response.headers["content-length"] == str(end - start)


@one_database
@pytest.mark.parametrize(
    "asked", [f"bytes={len(VIDEO)}-", "bytes=99999-100000", "bytes=-0", "bytes=" + "9" * 5000 + "-"]
)
async def test_content__outside_of_it_is_416(client: httpx2.AsyncClient, film: str, asked: str) -> None:
    response = await client.get(film, headers={"Range": asked})
    require_error(response, 416, code="range_not_satisfiable")
    assert response.headers["content-range"] == f"bytes */{len(VIDEO)}"


@one_database
@pytest.mark.parametrize(
    "asked", ["bytes=5-2", "bytes=a-b", "bytes=", "bytes=-", "bytes=0-1,4-5", "lines=0-1", "0-1", "bytes=²-3"]
)
async def test_content__a_range_that_means_nothing_is_ignored(
    client: httpx2.AsyncClient, film: str, asked: str
) -> None:
    response = await client.get(film, headers={"Range": asked.encode()})
    assert (response.status_code, response.content) == (200, VIDEO)


@one_database
@pytest.mark.parametrize(
    ("condition", "status"),
    [(TAG, 206), ('"x"', 200), (f"W/{TAG}", 200), ("Wed, 21 Oct 2026 07:28:00 GMT", 200)],
)
async def test_content__if_range_guards_a_resumed_download(
    client: httpx2.AsyncClient, film: str, condition: str, status: int
) -> None:
    response = await client.get(film, headers={"Range": "bytes=0-1", "If-Range": condition})
    assert response.status_code == status


@one_database
async def test_content__large_videos_pass_in_chunks(
    client: httpx2.AsyncClient, film: str, house: House, app: FastAPI
) -> None:
    large = VIDEO * 300
    await house.store.put_bytes(f"videos/{film.split('/')[3]}.mp4", large, content_type="video/mp4")
    sent: list[bytes] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message.get("body", b""))

    request = client.build_request("GET", film)
    scope = {
        "type": "http",
        "method": "GET",
        "path": film,
        "raw_path": film.encode(),
        "query_string": b"",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "http_version": "1.1",
        "scheme": "https",
        "server": ("reelay.test", 443),
    }
    await app(scope, Disconnecting(), send)
    assert b"".join(sent) == large
    assert max(map(len, sent)) <= 2 << 20


class Disconnecting:
    """A request without a body, whose client stays until the answer is complete."""

    def __init__(self) -> None:
        self._asked = False

    async def __call__(self) -> dict[str, Any]:
        if self._asked:
            await asyncio.Event().wait()
        self._asked = True
        return {"type": "http.request", "body": b"", "more_body": False}


@pytest.mark.parametrize("state", [S for S in JobState if S is not JobState.SUCCEEDED])
async def test_content__is_not_there_before_the_video(
    client: httpx2.AsyncClient, database: Database, me: Caller, state: JobState
) -> None:
    job = make_job(database, me, state=state)
    response = await client.get(f"/v1/jobs/{job.id}/content")
    if state in (JobState.FAILED, JobState.CANCELED, JobState.ABANDONED):
        require_error(response, 404, code="no_video")
    else:
        require_error(response, 409, code="video_not_ready")
        assert response.headers["retry-after"] == "5" and "x-should-retry" not in response.headers


async def test_content__missing_bytes_are_404(
    client: httpx2.AsyncClient, database: Database, me: Caller, film: str, house: House
) -> None:
    await house.store.delete(f"videos/{film.split('/')[3]}.mp4")
    require_error(await client.get(film), 404, code="content_missing")
    plain = make_job(database, me, state=JobState.SUCCEEDED)
    with database.transaction() as conn:
        video = video_of(plain) | {"poster_key": None}
        conn.execute(jobs.update().where(jobs.c.id == plain.id).values(video=video))
    require_error(await client.get(f"/v1/jobs/{plain.id}/content?variant=poster"), 404, code="no_poster")


async def test_content__expires_with_the_job(client: httpx2.AsyncClient, clock: Clock, film: str) -> None:
    clock.move(days=29)
    assert (await client.get(film)).status_code == 200
    clock.move(days=2)
    require_error(await client.get(film), 404, code="expired")


@one_database
async def test_content__bad_parameters_are_named(client: httpx2.AsyncClient, film: str) -> None:
    require_error(await client.get(film, params={"variant": "audio"}), 400, param="variant")
    require_error(await client.get(film, params={"download": "perhaps"}), 400, param="download")
    require_error(await client.get(film, params={"quality": "high"}), 400, param="quality")


async def signed_urls(client: httpx2.AsyncClient, film: str) -> tuple[str, str]:
    video = (await client.get(film.removesuffix("/content"))).json()["video"]
    return video["url"], video["poster_url"]


async def test_signed__opens_without_a_key(client: httpx2.AsyncClient, client_for: ClientFor, film: str) -> None:
    url, poster_url = await signed_urls(client, film)
    browser = client_for()
    assert (await browser.get(url)).content == VIDEO
    assert (await browser.get(poster_url)).content == picture()
    assert (await browser.get(url, headers={"Range": "bytes=0-3"})).status_code == 206
    assert (await browser.head(url)).status_code == 200
    assert (await browser.get(url + "&download=1")).headers["content-disposition"].startswith("attachment")


async def test_signed__anything_changed_does_not_open(
    client: httpx2.AsyncClient, client_for: ClientFor, film: str, database: Database, me: Caller
) -> None:
    other = make_job(database, me, state=JobState.SUCCEEDED)
    stranger, _ = make_caller(database, project="others")
    url, _ = await signed_urls(client, film)
    query = dict(pair.split("=") for pair in urlsplit(url).query.split("&"))
    changed = [
        query | {"variant": "poster"},
        query | {"expires": str(int(query["expires"]) + 1)},
        query | {"expires": "soon"},
        query | {"expires": "9" * 20},
        query | {"key_id": stranger.key.id},
        query | {"signature": "0" * 64},
        query | {"signature": "ü"},
        {"signature": query["signature"]},
        {"expires": query["expires"]},
    ]
    browser = client_for()
    for params in changed:
        require_error(await browser.get(film, params=params), 401, code="invalid_url")
    require_error(await browser.get(f"/v1/jobs/{other.id}/content", params=query), 401, code="invalid_url")
    require_error(await browser.get(film, params=query | {"key_id": "\x00"}), 400, param="key_id")
    assert (await browser.get(film, params=query)).status_code == 200


async def test_signed__expires(client: httpx2.AsyncClient, client_for: ClientFor, film: str, clock: Clock) -> None:
    url, _ = await signed_urls(client, film)
    clock.move(minutes=59)
    assert (await client_for().get(url)).status_code == 200
    clock.move(minutes=17)
    require_error(await client_for().get(url), 401, code="invalid_url")


async def test_signed__ends_with_its_key(
    client: httpx2.AsyncClient, client_for: ClientFor, film: str, database: Database, house: House, me: Caller
) -> None:
    ticks = house.keys._clock = Ticks()
    url, _ = await signed_urls(client, film)
    assert (await client_for().get(url)).status_code == 200
    with database.transaction() as conn:
        access.revoke_key(conn, me.key.id, now=database.now(conn))
    ticks.seconds += 5
    require_error(await client_for().get(url), 401, code="invalid_url")


async def test_signed__sees_no_more_than_its_key(
    client_for: ClientFor, film: str, database: Database, house: House
) -> None:
    ann, _ = make_caller(database, subject="ann")
    stranger, _ = make_caller(database, project="others")
    with database.transaction() as conn:
        now = database.now(conn)
    for caller in (ann, stranger):
        query = house.signer.query(job_id=film.split("/")[3], use="video", key_id=caller.key.id, now=now)
        require_error(await client_for().get(f"{film}?{query}"), 404)


async def test_content__by_key_needs_the_scope(client_for: ClientFor, film: str, database: Database) -> None:
    require_error(await client_for().get(film), 401, code="missing_api_key")
    _, writer = make_caller(database, scopes=frozenset({Scope.JOBS_WRITE}))
    require_error(await client_for(writer).get(film), 403, code="missing_scope")
    _, admin = make_caller(database, scopes=frozenset({Scope.ADMIN}), lifetime=timedelta(hours=1))
    assert (await client_for(admin).get(film)).status_code == 200
