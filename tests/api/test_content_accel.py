"""Downloads that nginx in front sends: only who may see them is told where they are."""

from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from app.api.deps import House
from app.db.engine import Database
from app.domain.errors import SettingsError
from app.settings import Settings
from tests.api.conftest import ClientFor, require_error
from tests.api.test_content import TAG, film, signed_urls
from tests.api.test_files import upload
from tests.factories import make_caller

__all__ = ["film"]


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture
def house(house: House) -> House:
    return replace(house, content_accel="/protected/")


async def test_accel__names_the_file_and_sends_no_byte(
    client: httpx2.AsyncClient, client_for: ClientFor, film: str
) -> None:
    job_id, file_id = film.split("/")[3], (await upload(client))["id"]
    signed, _ = await signed_urls(client, film)
    for method in ("GET", "HEAD"):
        for path, place in (
            (film, f"videos/{job_id}.mp4"),
            (f"{film}?variant=poster", f"videos/{job_id}.jpg"),
            (f"/v1/files/{file_id}/content", f"uploads/{file_id}.jpg"),
        ):
            answer = await client.request(method, path, headers={"Range": "bytes=0-1"})
            assert (answer.status_code, answer.content) == (200, b"")
            assert answer.headers["x-accel-redirect"] == f"/protected/{place}"
            assert answer.headers["content-type"] == ("video/mp4" if path == film else "image/jpeg")
            assert answer.headers["content-disposition"].startswith("inline")
            assert answer.headers["cache-control"].startswith("private")
    browser = client_for()
    assert (await browser.get(signed)).headers["x-accel-redirect"] == f"/protected/videos/{job_id}.mp4"
    saved = await client.get(film, params={"download": "1"})
    assert saved.headers["content-disposition"].startswith("attachment")
    known = await client.get(film, headers={"If-None-Match": TAG})
    assert (known.status_code, "x-accel-redirect" in known.headers) == (304, False)


async def test_accel__tells_nothing_to_who_may_not_see_it(
    client: httpx2.AsyncClient, client_for: ClientFor, film: str, database: Database, house: House
) -> None:
    _, stranger = make_caller(database, project="others")
    signed, _ = await signed_urls(client, film)
    await house.store.delete(urlsplit((await client.get(film)).headers["x-accel-redirect"]).path[len("/protected/") :])
    for status, refused in (
        (401, await client_for().get(film)),
        (401, await client_for().get(signed.replace("signature=", "signature=0"))),
        (404, await client_for(stranger).get(film)),
        (404, await client.get(film)),  # its bytes are gone
    ):
        require_error(refused, status)
        assert "x-accel-redirect" not in refused.headers


async def test_accel__is_off_by_default(client: httpx2.AsyncClient, film: str, house: House) -> None:
    client._transport.app.state.house = replace(house, content_accel=Settings().content_accel)
    answer = await client.get(film)
    assert answer.content
    assert "x-accel-redirect" not in answer.headers


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"content_accel": "protected/"}, "between slashes"),
        ({"content_accel": "/protected"}, "between slashes"),
        ({"content_accel": "/"}, "between slashes"),
        ({"content_accel": "/a b/"}, "between slashes"),
        ({"content_accel": "/protected/", "content_redirect": True}, "excludes REELAY_CONTENT_REDIRECT"),
        ({"content_accel": "/protected/", "storage_url": "s3://videos"}, "is for a folder"),
        ({"content_accel": "/protected/", "storage_url": "memory://"}, "is for a folder"),
    ],
)
def test_accel__is_refused_where_it_makes_no_sense(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=f"REELAY_CONTENT_ACCEL.*{said}"):
        Settings.load(**given)


@pytest.mark.parametrize("folder", [None, "/srv/videos", "file:///srv/videos"])
def test_accel__is_taken_for_a_folder(folder: str | None) -> None:
    assert Settings.load(content_accel="/protected/", storage_url=folder).stores_in_folder
