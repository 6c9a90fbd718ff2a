import asyncio
import hashlib
import logging
import threading
from pathlib import Path

import httpx2
import pytest

from app.domain.errors import AddressRefused, DownloadFailed, StorageFailed
from app.outbound import download as module
from app.outbound import guard as guard_module
from app.outbound.download import Downloaded, DownloadTooLarge, _keep, _redirected, download
from app.outbound.guard import Guard

from .conftest import Listener, redirect, respond

FILM = bytes(range(256)) * 12_000
SECRET = "X-Signature=very-secret"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "film.part"


@pytest.fixture
def guard(listener: Listener) -> Guard:
    return Guard([listener.trusted()])


async def fetched(
    listener: Listener,
    path: Path,
    guard: Guard,
    *,
    max_bytes: int = 10_000_000,
    deadline_seconds: float = 10,
    stall_seconds: float = 5,
) -> Downloaded:
    return await download(
        listener.url(f"/film.mp4?{SECRET}"),
        path,
        guard=guard,
        max_bytes=max_bytes,
        deadline_seconds=deadline_seconds,
        stall_seconds=stall_seconds,
    )


async def failure_of(listener: Listener, path: Path, guard: Guard, **limits: float) -> DownloadFailed:
    """Return the failure, sure that it left no file and told no secret."""
    with pytest.raises(DownloadFailed) as failed:
        await fetched(listener, path, guard, **limits)
    assert not path.exists()
    assert "secret" not in str(failed.value) and "film.mp4" not in str(failed.value)
    return failed.value


async def test_download__writes_the_body(listener: Listener, path: Path, guard: Guard) -> None:
    listener.answers = [respond(FILM, Content_Type="Video/MP4; charset=x")]
    downloaded = await fetched(listener, path, guard)
    assert downloaded == Downloaded(
        size_bytes=len(FILM), sha256=hashlib.sha256(FILM).hexdigest(), content_type="video/mp4"
    )
    assert path.read_bytes() == FILM


async def test_download__sends_nothing_but_the_question(listener: Listener, path: Path, guard: Guard) -> None:
    listener.answers = [respond(b"x")]
    await fetched(listener, path, guard)
    line, *headers = listener.requests[0].decode().strip().split("\r\n")
    assert line == f"GET /film.mp4?{SECRET} HTTP/1.1"
    assert {header.partition(":")[0].lower() for header in headers} == {
        "host",
        "user-agent",
        "accept",
        "accept-encoding",
    }
    assert "Accept-Encoding: identity" in headers


async def test_download__without_a_declared_length(listener: Listener, path: Path, guard: Guard) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    listener.answers = [chunked]
    assert (await fetched(listener, path, guard)).size_bytes == 11
    listener.answers = [respond(b"until the end", length=-1)]
    downloaded = await fetched(listener, path, guard)
    assert (downloaded.size_bytes, downloaded.content_type) == (13, "application/octet-stream")


# --- what goes wrong over there


@pytest.mark.parametrize(("status", "gone"), [(403, True), (404, True), (410, True)])
async def test_download__an_expired_url_is_gone(
    listener: Listener, path: Path, guard: Guard, status: int, gone: bool
) -> None:
    listener.answers = [respond(b"<Error>Request has expired</Error>", status=f"{status} X")]
    assert (await failure_of(listener, path, guard)).gone is gone


@pytest.mark.parametrize("status", [201, 204, 206, 300, 304, 400, 401, 408, 416, 429, 500, 502, 503, 504])
async def test_download__other_answers_are_worth_another_try(
    listener: Listener, path: Path, guard: Guard, status: int
) -> None:
    listener.answers = [respond(status=f"{status} X")]
    failure = await failure_of(listener, path, guard)
    assert not failure.gone
    assert str(status) in str(failure)


@pytest.mark.parametrize("sent", [0, 1, 2_000_000])
async def test_download__a_short_body_is_a_failure(listener: Listener, path: Path, guard: Guard, sent: int) -> None:
    listener.answers = [respond(FILM[:sent], length=len(FILM))]
    assert not (await failure_of(listener, path, guard)).gone


async def test_download__counts_for_itself(path: Path) -> None:
    # The HTTP library notices a short body first; this is what stands behind it.
    short = httpx2.Response(200, headers={"Content-Length": "5"}, stream=httpx2.ByteStream(b"film"))
    with pytest.raises(DownloadFailed, match="after 4 of 5 bytes"):
        await _keep(short, path, max_bytes=10)
    assert not path.exists()


async def test_download__a_cut_off_chunked_body_is_a_failure(listener: Listener, path: Path, guard: Guard) -> None:
    listener.answers = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"]
    assert not (await failure_of(listener, path, guard)).gone


async def test_download__a_compressed_body_is_a_failure(listener: Listener, path: Path, guard: Guard) -> None:
    listener.answers = [respond(b"\x1f\x8b", Content_Encoding="gzip")]
    assert "compressed" in str(await failure_of(listener, path, guard))
    listener.answers = [respond(b"x", Content_Encoding="identity")]
    assert (await fetched(listener, path, guard)).size_bytes == 1


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"])
async def test_download__nonsense_is_a_failure(listener: Listener, path: Path, guard: Guard, answer: bytes) -> None:
    listener.answers = [answer]
    assert not (await failure_of(listener, path, guard)).gone


async def test_download__nobody_there(listener: Listener, path: Path) -> None:
    async def closed(host: str, port: int) -> list[str]:
        return ["127.0.0.3"]

    guard = Guard([listener.trusted("films.example")], resolver=closed)
    with pytest.raises(DownloadFailed, match="ConnectError") as failed:
        await download(listener.url(host="films.example"), path, guard=guard, max_bytes=10, deadline_seconds=5)
    assert not failed.value.gone


async def test_download__an_unknown_name_is_worth_another_try(path: Path) -> None:
    async def unknown(host: str, port: int) -> list[str]:
        raise OSError("unknown")

    with pytest.raises(DownloadFailed, match="ConnectError") as failed:
        await download("http://films.example/", path, guard=Guard(resolver=unknown), max_bytes=10, deadline_seconds=5)
    assert not failed.value.gone


# --- caps


@pytest.mark.parametrize("length", [None, -1], ids=["declared", "undeclared"])
async def test_download__has_a_cap(listener: Listener, path: Path, guard: Guard, length: int | None) -> None:
    listener.answers = [respond(FILM, length=length)]
    assert (await fetched(listener, path, guard, max_bytes=len(FILM))).size_bytes == len(FILM)
    path.unlink()
    failure = await failure_of(listener, path, guard, max_bytes=len(FILM) - 1)
    assert isinstance(failure, DownloadTooLarge)
    assert not failure.gone


async def test_download__an_endless_body_ends_at_the_cap(listener: Listener, path: Path, guard: Guard) -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(1 << 16))
            await writer.drain()

    listener.answers = [endless]
    assert isinstance(await failure_of(listener, path, guard, max_bytes=3_000_000), DownloadTooLarge)


async def test_download__has_a_deadline(listener: Listener, path: Path, guard: Guard) -> None:
    async def dribble(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    listener.answers = [dribble]
    failure = await failure_of(listener, path, guard, deadline_seconds=0.2)
    assert "longer than 0.2 s" in str(failure)
    assert not failure.gone


async def test_download__does_not_wait_for_a_silent_server(listener: Listener, path: Path, guard: Guard) -> None:
    async def silence(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
        await asyncio.Event().wait()

    listener.answers = [silence]
    failure = await failure_of(listener, path, guard, stall_seconds=0.1)
    assert "ReadTimeout" in str(failure)


# --- redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_download__follows_redirects(listener: Listener, path: Path, guard: Guard, status: int) -> None:
    listener.answers = [redirect("/next?token=1", status=f"{status} X"), respond(b"film")]
    assert (await fetched(listener, path, guard)).size_bytes == 4
    assert listener.requests[1].startswith(b"GET /next?token=1 ")


async def test_download__follows_three_redirects_at_most(listener: Listener, path: Path, guard: Guard) -> None:
    listener.answers = [redirect("/1"), redirect("/2"), redirect("/3"), respond(b"film")]
    assert (await fetched(listener, path, guard)).size_bytes == 4
    path.unlink()
    listener.answers = [redirect("/again")]
    assert "more than 3 times" in str(await failure_of(listener, path, guard))
    assert listener.connections == 8


async def test_download__judges_every_redirect(
    listener: Listener, internal: Listener, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_module, "PORTS", {80, 443, internal.port})

    async def loopback(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    guard = Guard([listener.trusted()], resolver=loopback)
    for target in (
        internal.url(),
        internal.url(host="evil.example"),
        internal.url(host="[::1]"),
        internal.url(host="127.1"),
        f"//127.0.0.1:{internal.port}/",
        "file:///etc/passwd",
        "ftp://example.com/",
        "http://user@example.com/",
        "http://169.254.169.254/latest/meta-data/",
    ):
        listener.answers = [redirect(target)]
        assert isinstance(await failure_of(listener, path, guard), AddressRefused), target


@pytest.mark.parametrize("location", ["", "http://[::1", "http://exa mple/"])
async def test_download__a_redirect_to_nowhere(listener: Listener, path: Path, guard: Guard, location: str) -> None:
    listener.answers = [redirect(location)]
    await failure_of(listener, path, guard)


def test_download__does_not_leave_https() -> None:
    # Called directly: to be redirected from https takes a certificate.
    secure = httpx2.URL("https://films.example/a")
    guard = Guard(["minio:9000"])
    with pytest.raises(DownloadFailed, match="from https to http"):
        _redirected(secure, "http://films.example/b", guard=guard)
    assert _redirected(secure, "https://other.example/b", guard=guard).host == "other.example"
    assert _redirected(secure, "http://minio:9000/b", guard=guard).host == "minio"
    assert _redirected(httpx2.URL("http://films.example/"), "http://films.example/b", guard=guard).path == "/b"


async def test_download__refuses_the_first_address_as_well(internal: Listener, path: Path) -> None:
    with pytest.raises(AddressRefused) as refused:
        await download(internal.url(f"/?{SECRET}"), path, guard=Guard(), max_bytes=10, deadline_seconds=5)
    assert refused.value.gone
    assert "secret" not in str(refused.value)
    assert not path.exists()


# --- our side


async def test_download__a_full_disk_is_a_storage_failure(listener: Listener, tmp_path: Path, guard: Guard) -> None:
    listener.answers = [respond(FILM)]
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    with pytest.raises(StorageFailed, match="No space left on device"):
        await fetched(listener, full, guard)
    assert not full.is_symlink()
    assert Path("/dev/full").exists()


async def test_download__a_missing_folder_is_a_storage_failure(
    listener: Listener, tmp_path: Path, guard: Guard
) -> None:
    listener.answers = [respond(FILM)]
    with pytest.raises(StorageFailed, match="No such file or directory"):
        await fetched(listener, tmp_path / "none" / "film", guard)


async def test_download__writes_off_the_loop(
    listener: Listener, path: Path, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    lengths: list[int] = []
    real = module._Sink.append

    def noted(sink: module._Sink, chunk: bytes) -> None:
        threads.append(threading.get_ident())
        lengths.append(len(chunk))
        real(sink, chunk)

    monkeypatch.setattr(module._Sink, "append", noted)
    listener.answers = [respond(FILM)]
    await fetched(listener, path, guard)
    assert threading.get_ident() not in threads
    assert lengths == [1 << 20, 1 << 20, len(FILM) - (2 << 20)]


async def test_download__cancelled_leaves_nothing(listener: Listener, path: Path, guard: Guard) -> None:
    async def silence(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + FILM)
        await asyncio.Event().wait()

    listener.answers = [silence]
    task = asyncio.create_task(fetched(listener, path, guard))
    while not path.exists() or path.stat().st_size < 1 << 20:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not path.exists()


async def test_download__logs_no_query(
    listener: Listener, path: Path, guard: Guard, caplog: pytest.LogCaptureFixture
) -> None:
    listener.answers = [respond(b"film")]
    with caplog.at_level(logging.INFO):
        await fetched(listener, path, guard)
    assert "secret" not in caplog.text
