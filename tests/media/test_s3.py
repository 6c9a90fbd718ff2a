"""The store against a real S3 server, as far as moto is one: it keeps, cuts, signs and refuses as S3 does."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from app.domain.errors import StorageFailed
from app.media.store import ObjectMissing, Store
from tests.object_store import SECRET, S3Server

MIB = 1 << 20
LARGE = os.urandom(12 * MIB + 7)
"""More than one part of a multipart upload."""


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture
def store(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return Store.open(s3.url)


async def part(store: Store, key: str, *, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in store.stream(key, start=start, end=end)])


async def test_s3__a_large_file_comes_back_whole_and_in_parts(store: Store, s3: S3Server, tmp_path: Path) -> None:
    path = tmp_path / "film"
    path.write_bytes(LARGE)
    await store.put_file("videos/large.mp4", path, content_type="video/mp4")
    assert "some/prefix/videos/large.mp4" in s3.object_names()
    assert await store.size("videos/large.mp4") == len(LARGE)
    assert await part(store, "videos/large.mp4") == LARGE
    for start, end in ((0, 1), (5 * MIB - 3, 5 * MIB + 3), (len(LARGE) - 4, None)):
        assert await part(store, "videos/large.mp4", start=start, end=end) == LARGE[start:end]


async def test_s3__deletes_and_tells_what_is_missing(store: Store, s3: S3Server) -> None:
    await store.put_bytes("gone", b"1", content_type="text/plain")
    await store.delete("gone")
    await store.delete("gone")
    assert (await store.size("gone"), "some/prefix/gone" in s3.object_names()) == (None, False)
    with pytest.raises(ObjectMissing):
        await part(store, "gone")


async def test_s3__check_leaves_nothing(store: Store, s3: S3Server) -> None:
    before = s3.object_names()
    await store.check()
    assert s3.object_names() == before


async def test_s3__a_link_opens_one_object(store: Store) -> None:
    await store.put_bytes("videos/1.mp4", b"film", content_type="video/mp4")
    link = await store.link("videos/1.mp4", seconds=60)
    assert link is not None and "X-Amz-Expires=60&" in link and SECRET not in link
    with httpx2.Client() as stranger:
        found = stranger.get(link)
    assert (found.content, found.headers["content-type"]) == (b"film", "video/mp4")


async def test_s3__away_is_a_failure_and_never_a_missing_object(store: Store, s3: S3Server) -> None:
    await store.put_bytes("kept", b"1", content_type="text/plain")
    s3.shut()
    try:
        for attempt in (store.size("kept"), store.read("kept"), store.put_bytes("new", b"", content_type="a/b")):
            with pytest.raises(StorageFailed) as failed:
                await attempt
            assert not isinstance(failed.value, ObjectMissing)
        with pytest.raises(StorageFailed, match="Check the address and the credentials"):
            await store.check()
    finally:
        s3.open()
    assert await store.read("kept") == b"1"


async def test_s3__no_such_bucket_is_a_failure(store: Store) -> None:
    with pytest.raises(StorageFailed, match="Check the address and the credentials"):
        await Store.open("s3://nowhere").check()
