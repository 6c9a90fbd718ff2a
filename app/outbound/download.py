"""Fetch a finished video from a URL the upstream named: guarded, capped in size and time, checked for completeness."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ParamSpec

import httpx2

from app.domain.errors import DownloadFailed, StorageFailed
from app.outbound.guard import Guard, port_of

CHUNK_BYTES = 1 << 20
MAX_REDIRECTS = 3
# No cookie, no key, nothing of the caller's; `identity`, so that Content-Length tells the size of the file.
HEADERS = {"User-Agent": "Reelay", "Accept": "*/*", "Accept-Encoding": "identity"}
CONNECT_SECONDS = 10.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({403, 404, 410})
_Arguments = ParamSpec("_Arguments")


class DownloadTooLarge(DownloadFailed):
    """The body is larger than we take. The URL is not gone: a higher limit would read it."""


@dataclass(frozen=True, kw_only=True)
class Downloaded:
    """What was written. `sha256` in hex; `content_type` as the server claimed it, without parameters."""

    size_bytes: int
    sha256: str
    content_type: str


async def download(
    url: str,
    path: Path,
    *,
    guard: Guard,
    max_bytes: int,
    deadline_seconds: float,
    stall_seconds: float = 30.0,
) -> Downloaded:
    """Stream `url` into `path`; on failure no part of it is left there. No message tells the URL's path or query.

    `stall_seconds` is how long the server may stay silent. Raises AddressRefused; DownloadFailed, `gone` for 403, 404
    and 410; DownloadTooLarge; StorageFailed if `path` can't be written.
    """
    try:
        async with (
            asyncio.timeout(deadline_seconds),
            guard.transport() as transport,
            _answer(url, guard=guard, transport=transport, stall_seconds=stall_seconds) as response,
        ):
            return await _keep(response, path, max_bytes=max_bytes)
    except TimeoutError as error:
        raise DownloadFailed(f"The download took longer than {deadline_seconds:g} s.") from error
    except httpx2.TransportError as error:
        raise DownloadFailed(f"The download broke off ({type(error).__name__}).") from error


@asynccontextmanager
async def _answer(
    url: str, *, guard: Guard, transport: httpx2.AsyncHTTPTransport, stall_seconds: float
) -> AsyncIterator[httpx2.Response]:
    """Follow redirects by hand, each through the guard, to an answer with a body."""
    target = guard.check(url)
    timeout = httpx2.Timeout(stall_seconds, connect=min(stall_seconds, CONNECT_SECONDS))
    for _ in range(MAX_REDIRECTS + 1):
        # Straight to the transport: a client would log the whole URL, signature and all, and follow by itself.
        request = httpx2.Request("GET", target, headers=HEADERS, extensions={"timeout": timeout.as_dict()})
        response = await transport.handle_async_request(request)
        try:
            if response.status_code not in _REDIRECTS:
                _check_answer(response, host=target.host)
                yield response
                return
            target = _redirected(target, response.headers.get("location"), guard=guard)
        finally:
            await response.aclose()
    raise DownloadFailed(f"The download was redirected more than {MAX_REDIRECTS} times.")


def _redirected(target: httpx2.URL, location: str | None, *, guard: Guard) -> httpx2.URL:
    if not location:
        raise DownloadFailed(f"{target.host} redirects to nowhere.")
    try:
        joined = target.join(location)
    except httpx2.InvalidURL:
        raise DownloadFailed(f"{target.host} redirects to something that is no URL.") from None
    following = guard.check(joined)
    downgraded = target.scheme == "https" and following.scheme == "http"
    if downgraded and not guard.trusts(following.host, port_of(following)):
        raise DownloadFailed(f"{target.host} redirects from https to http.")
    return following


def _check_answer(response: httpx2.Response, *, host: str) -> None:
    status = response.status_code
    if status != 200:
        raise DownloadFailed(f"{host} answered with status {status}.", gone=status in _GONE)
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise DownloadFailed(f"{host} sent a compressed body, though asked not to.")


async def _keep(response: httpx2.Response, path: Path, *, max_bytes: int) -> Downloaded:
    declared = _declared_length(response)
    if declared is not None and declared > max_bytes:
        raise DownloadTooLarge(f"The video has {declared} bytes; at most {max_bytes} are taken.")
    sink = _Sink(path)
    try:
        await _in_thread(sink.open)
        async for chunk in response.aiter_raw(CHUNK_BYTES):
            if sink.size + len(chunk) > max_bytes:
                raise DownloadTooLarge(f"The video has more than {max_bytes} bytes.")
            await _in_thread(sink.append, chunk)
        if declared is not None and sink.size != declared:
            raise DownloadFailed(f"The download broke off after {sink.size} of {declared} bytes.")
        await _in_thread(sink.close)
    except BaseException:
        await asyncio.to_thread(sink.discard)
        raise
    content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return Downloaded(
        size_bytes=sink.size, sha256=sink.digest.hexdigest(), content_type=content_type or "application/octet-stream"
    )


class _Sink:
    """The local file and its checksum. Every method blocks: each runs in a thread."""

    def __init__(self, path: Path) -> None:
        self.size = 0
        self.digest = hashlib.sha256()
        self._path = path
        self._file: BinaryIO | None = None

    def open(self) -> None:
        self._file = self._path.open("wb")

    def append(self, chunk: bytes) -> None:
        assert self._file is not None
        self._file.write(chunk)
        self.digest.update(chunk)
        self.size += len(chunk)

    def close(self) -> None:
        assert self._file is not None
        self._file.close()

    def discard(self) -> None:
        if self._file is None:
            return
        with suppress(OSError):  # what made the write fail may fail the close as well
            self._file.close()
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


async def _in_thread(step: Callable[_Arguments, None], *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> None:
    try:
        await asyncio.to_thread(step, *args, **kwargs)
    except OSError as error:
        raise StorageFailed(f"The download could not be written to the local disk: {error.strerror}.") from error


def _declared_length(response: httpx2.Response) -> int | None:
    text = response.headers.get("content-length", "")
    if "transfer-encoding" in response.headers or not (text.isascii() and text.isdigit()):
        return None
    return int(text)
