import asyncio
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from obstore.store import LocalStore

from app.domain.errors import StorageFailed
from app.media import store as store_module
from app.media.store import ObjectMissing, Store

MIB = 1 << 20


class Bucket(ThreadingHTTPServer):
    """As much of S3 as is needed here: objects by path, with their content type."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), BucketHandler)
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.broken = False


class BucketHandler(BaseHTTPRequestHandler):
    server: Bucket
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.broken:
            return self.answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        if original := self.headers.get("x-amz-copy-source"):
            return self.copy("/" + original.lstrip("/"))
        self.server.objects[self.path] = (body, self.headers.get("Content-Type", ""))
        return self.answer(200, ETag='"1"')

    def copy(self, original: str) -> None:
        if original not in self.server.objects:
            return self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        self.server.objects[self.path] = self.server.objects[original]
        return self.answer(200, b'<CopyObjectResult><ETag>"1"</ETag></CopyObjectResult>')

    def do_GET(self) -> None:
        if self.path not in self.server.objects:
            return self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        body, content_type = self.server.objects[self.path]
        common = {"ETag": '"1"', "Content_Type": content_type, "Last_Modified": "Mon, 23 Nov 2026 00:00:00 GMT"}
        if wanted := self.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(body) - 1), len(body) - 1)
            return self.answer(206, body[start : end + 1], Content_Range=f"bytes {start}-{end}/{len(body)}", **common)
        return self.answer(200, body, Content_Length=str(len(body)), **common)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        """DeleteObjects: obstore deletes even a single object with it."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        keys = re.findall("<Key>(.*?)</Key>", body)
        for key in keys:
            self.server.objects.pop(f"{self.path.partition('?')[0]}/{key}", None)
        deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        self.answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with Bucket() as server:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_address[1]}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "very-secret",
            "AWS_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(params=["folder", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    match request.param:
        case "folder":
            return Store.open(str(tmp_path / "media"))
        case "s3":
            request.getfixturevalue("bucket")
            return Store.open("s3://films/some/prefix")
        case _:
            return Store.open("memory://")


async def all_of(store: Store, key: str, *, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in store.stream(key, start=start, end=end)])


# --- every kind of store


async def test_store__keeps_bytes(store: Store) -> None:
    await store.put_bytes("a/b/c.png", b"first", content_type="image/png")
    await store.put_bytes("a/b/c.png", b"second", content_type="image/png")
    assert await store.read("a/b/c.png") == b"second"
    assert await store.size("a/b/c.png") == 6
    assert await all_of(store, "a/b/c.png") == b"second"


async def test_store__keeps_a_file(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "film"
    path.write_bytes(os.urandom(3 * MIB + 7))
    await store.put_file("videos/1.mp4", path, content_type="video/mp4")
    assert await store.size("videos/1.mp4") == 3 * MIB + 7
    assert await all_of(store, "videos/1.mp4") == path.read_bytes()


async def test_store__streams_about_a_mebibyte_at_a_time(store: Store) -> None:
    await store.put_bytes("big", bytes(5 * MIB), content_type="video/mp4")
    lengths = [len(chunk) async for chunk in store.stream("big")]
    assert sum(lengths) == 5 * MIB
    assert len(lengths) <= 5
    if "s3" not in store.place:  # over a network, chunks are what arrives
        assert max(lengths) <= 5 * MIB


@pytest.mark.parametrize(("start", "end"), [(0, 4), (2, 5), (7, None), (9, 10), (3, 99), (0, None)])
async def test_store__streams_a_range(store: Store, start: int, end: int | None) -> None:
    await store.put_bytes("digits", b"0123456789", content_type="text/plain")
    assert await all_of(store, "digits", start=start, end=end) == b"0123456789"[start:end]


async def test_store__missing_objects(store: Store) -> None:
    assert await store.size("none") is None
    with pytest.raises(ObjectMissing):
        await store.read("none")
    with pytest.raises(ObjectMissing):
        await all_of(store, "none")
    await store.delete("none")


async def test_store__copies(store: Store, request: pytest.FixtureRequest) -> None:
    await store.put_bytes("videos/1.mp4", b"film", content_type="video/mp4")
    await store.copy("videos/1.mp4", to="videos/2.mp4")
    await store.delete("videos/1.mp4")
    assert (await store.size("videos/1.mp4"), await store.read("videos/2.mp4")) == (None, b"film")
    if "s3" in store.place:
        [(_, content_type)] = request.getfixturevalue("bucket").objects.values()
        assert content_type == "video/mp4"
    with pytest.raises(ObjectMissing):
        await store.copy("videos/1.mp4", to="videos/3.mp4")
    assert await store.size("videos/3.mp4") is None


async def test_store__deletes(store: Store) -> None:
    await store.put_bytes("x/y", b"1", content_type="text/plain")
    await store.delete("x/y")
    assert await store.size("x/y") is None


async def test_store__check_leaves_nothing(store: Store, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    await store.check()
    if "s3" in store.place:
        assert request.getfixturevalue("bucket").objects == {}
    assert [path for path in (tmp_path / "media").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../up", "a/../b", "a//b", ".hidden", "a/.b", "a b", "ä", "a\n", "a/"]
)
async def test_store__takes_only_keys_of_ours(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="not a storage key"):
        await store.put_bytes(key, b"", content_type="text/plain")
    with pytest.raises(ValueError, match="not a storage key"):
        await store.read(key)
    with pytest.raises(ValueError, match="not a storage key"):
        await anext(aiter(store.stream(key)))
    with pytest.raises(ValueError, match="not a storage key"):
        await store.size(key)
    with pytest.raises(ValueError, match="not a storage key"):
        await store.delete(key)


async def test_store__a_readers_own_error_is_not_translated(store: Store) -> None:
    await store.put_bytes("k", b"1", content_type="text/plain")
    stream = store.stream("k")
    await anext(stream)
    with pytest.raises(ValueError, match="the reader's own"):
        await stream.athrow(ValueError("the reader's own"))


# --- a local folder


async def test_store__what_its_kind_cannot_do_is_a_failure_like_any_other(tmp_path: Path) -> None:
    """obstore's folders take no content type, and say so with an error that is none of its own."""
    with pytest.raises(StorageFailed, match=r"could not be written to here: .*not yet implemented"):
        await Store(LocalStore(prefix=tmp_path), place="here").put_bytes("a.txt", b"x", content_type="text/plain")


def test_open__makes_private_folders(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Store.open(f"file://{tmp_path}/with%20space/media")
    finally:
        os.umask(before)
    for folder in (tmp_path / "with space", tmp_path / "with space" / "media"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_open__takes_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store.open("data/media")
    monkeypatch.chdir("/")
    await store.put_bytes("k", b"1", content_type="text/plain")
    assert (tmp_path / "data" / "media" / "k").read_bytes() == b"1"


async def test_folder__files_are_private(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    before = os.umask(0)
    try:
        await store.put_bytes("deep/er/k", b"1", content_type="text/plain")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "deep" / "er").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "deep" / "er" / "k").stat().st_mode) == 0o600


async def test_folder__is_synced_before_and_after_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(str(tmp_path / "media"))
    source = tmp_path / "film"
    source.write_bytes(b"film")
    steps: list[str] = []
    real_sync, real_replace = os.fsync, Path.replace

    def sync(descriptor: int) -> None:
        real_sync(descriptor)
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        steps.append("sync folder" if is_folder else f"sync {os.fstat(descriptor).st_size} bytes")

    def replace(path: Path, target: Path) -> Path:
        steps.append("rename")
        return real_replace(path, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    await store.put_file("videos/1.mp4", source, content_type="video/mp4")
    renamed = steps.index("rename")
    assert "sync 4 bytes" in steps[:renamed]
    assert steps[:renamed].count("sync folder") == 2  # that the new folders are there: videos and .partial
    assert "sync folder" in steps[renamed:]


async def test_folder__a_failed_write_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(str(tmp_path))
    await store.put_bytes("k", b"old", content_type="text/plain")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFailed, match="No space left on device"):
        await store.put_bytes("k", b"new", content_type="text/plain")
    assert await store.read("k") == b"old"
    assert list((tmp_path / ".partial").iterdir()) == []


async def test_folder__a_missing_source_is_a_failure_not_a_missing_object(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    with pytest.raises(StorageFailed) as failed:
        await store.put_file("k", tmp_path / "none", content_type="video/mp4")
    assert not isinstance(failed.value, ObjectMissing)
    assert list((tmp_path / ".partial").iterdir()) == []


async def test_open__forgets_old_partial_writes(tmp_path: Path) -> None:
    partial = tmp_path / ".partial"
    partial.mkdir()
    for name, age in (("old", 90_000), ("young", 60)):
        (partial / name).write_bytes(b"")
        os.utime(partial / name, (time.time() - age,) * 2)
    Store.open(str(tmp_path))
    assert [path.name for path in partial.iterdir()] == ["young"]


def test_open__a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageFailed, match="cannot be used: Not a directory"):
        Store.open(str(tmp_path / "file" / "media"))


async def test_check__says_what_to_do_about_a_folder(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "media"))
    (tmp_path / "media" / "checks").write_bytes(b"in the way")
    with pytest.raises(StorageFailed, match=r"Check its owner, its mode and the free space of the storage at .*/media"):
        await store.check()


async def test_folder__does_not_block_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(str(tmp_path))
    threads: list[str] = []
    real = store_module.folder.write_durably

    def noted(*arguments: Path, key: str, source: Path | bytes) -> None:
        threads.append(threading.current_thread().name)
        real(*arguments, key=key, source=source)

    monkeypatch.setattr(store_module.folder, "write_durably", noted)
    await store.put_bytes("k", b"1", content_type="text/plain")
    assert threads and threads != [threading.main_thread().name]


# --- clouds


@pytest.mark.parametrize("source", ["bytes", "file"])
async def test_s3__is_told_the_content_type(bucket: Bucket, tmp_path: Path, source: str) -> None:
    store = Store.open("s3://films/some/prefix")
    if source == "bytes":
        await store.put_bytes("videos/1.mp4", b"film", content_type="video/mp4")
    else:
        (tmp_path / "film").write_bytes(b"film")
        await store.put_file("videos/1.mp4", tmp_path / "film", content_type="video/mp4")
    assert bucket.objects == {"/films/some/prefix/videos/1.mp4": (b"film", "video/mp4")}


async def test_s3__check_says_what_to_do(bucket: Bucket) -> None:
    bucket.broken = True
    with pytest.raises(StorageFailed) as failed:
        await Store.open("s3://films").check()
    sentence = str(failed.value)
    assert "Check the address and the credentials of the storage at s3://films." in sentence
    assert "\n" not in sentence and "very-secret" not in sentence


async def test_s3__check_notices_other_bytes(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(dict[str, tuple[bytes, str]]):
        def __setitem__(self, key: str, value: tuple[bytes, str]) -> None:
            super().__setitem__(key, (b"something else", value[1]))

    bucket.objects = Forgetful()
    with pytest.raises(StorageFailed, match="gave back other bytes"):
        await Store.open("s3://films").check()


@pytest.mark.parametrize(
    "url", ["http://example.com/media", "ftp://x", "s4://b", "file://host/path", "file://", "://x"]
)
def test_open__refuses_other_addresses(url: str) -> None:
    with pytest.raises(StorageFailed):
        Store.open(url)


@pytest.mark.parametrize(
    ("url", "place"), [("gs://films/prefix", "gs://films/prefix"), ("az://account/films", "az://account/films")]
)
def test_open__knows_other_clouds(url: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    assert Store.open(url).place == place


async def test_store__many_at_once(store: Store) -> None:
    keys = [f"many/{number}" for number in range(20)]
    await asyncio.gather(*(store.put_bytes(key, key.encode(), content_type="text/plain") for key in keys))
    assert await asyncio.gather(*(store.read(key) for key in keys)) == [key.encode() for key in keys]
