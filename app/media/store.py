"""Object storage behind one small interface: a local folder, S3, Google Cloud, Azure, or memory for tests."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, MemoryStore, S3Store

from app.domain.errors import StorageFailed
from app.domain.text import clean
from app.media import folder

CHUNK_BYTES = 1 << 20
# Keys are ours, never a client's file name; no part may begin with a dot, so none climbs out of the folder.
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.=-]*)*")
# What a kind of store can't do, obstore tells by Python's NotImplementedError, which is none of its BaseErrors.
_FAILURES = (BaseError, OSError, ValueError, NotImplementedError)
_CLOUDS: dict[str, type[S3Store | GCSStore | AzureStore]] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
_Remote = S3Store | GCSStore | AzureStore | LocalStore | MemoryStore


class ObjectMissing(StorageFailed):
    """There is no object under this key. Waiting does not bring it back."""


class Store:
    """One place for objects. Every failure is a StorageFailed; a missing object, where one is read, ObjectMissing."""

    def __init__(self, remote: _Remote, *, place: str, root: Path | None = None) -> None:
        self._remote = remote
        self._place = place
        self._root = root

    @classmethod
    def open(cls, url: str) -> Self:
        """Open `file:///path`, a plain path, `s3://bucket/prefix`, `gs://`, `az://` or `memory://`.

        Credentials of cloud stores come from their own usual environment variables. A local folder is created,
        readable by its owner only. Raises StorageFailed with what to do about it.
        """
        scheme, found, _ = url.partition("://")
        if not found:
            return cls._open_folder(Path(url).expanduser())
        match scheme.lower():
            case "file":
                return cls._open_folder(_path_of(url))
            case "memory":
                return cls(MemoryStore(), place="memory")
            case "s3" | "gs" | "az" as known:
                return cls._open_cloud(url, scheme=known)
            case _:
                raise StorageFailed(
                    f"Storage of the kind {clean(scheme, limit=20)}:// is not known; use a folder, s3://, gs:// or az://."
                )

    @classmethod
    def _open_folder(cls, path: Path) -> Self:
        root = path.absolute()
        with _failures_told(f"The storage folder {root} cannot be used"):
            folder.make_folder(root)
            folder.forget_partials(root)
            return cls(LocalStore(prefix=root), place=str(root), root=root)

    @classmethod
    def _open_cloud(cls, url: str, *, scheme: str) -> Self:
        parts = urlsplit(url)
        place = f"{scheme}://{parts.hostname or ''}{parts.path}"
        with _failures_told(f"The storage {place} cannot be opened"):
            remote = _CLOUDS[scheme].from_url(
                url,
                # No client options: they would replace those of the environment (AWS_ALLOW_HTTP), not add to them.
                # A worker holds and tries again by itself; obstore's own three minutes would only outlast its lease.
                retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=30)},
            )
        return cls(remote, place=place)

    @property
    def place(self) -> str:
        """Where objects are kept, for people to read; no credentials in it."""
        return self._place

    async def put_file(self, key: str, path: Path, *, content_type: str) -> None:
        """Store the file at `path` under `key`, replacing what was there. On return it is safe from a power cut."""
        await self._put(key, path, content_type=content_type)

    async def put_bytes(self, key: str, data: bytes, *, content_type: str) -> None:
        """Store `data` under `key`, replacing what was there. On return it is safe from a power cut."""
        await self._put(key, data, content_type=content_type)

    async def _put(self, key: str, source: Path | bytes, *, content_type: str) -> None:
        _check_key(key)
        with _failures_told(f"{key} could not be written to {self._place}"):
            if self._root is not None:
                await asyncio.to_thread(folder.write_durably, self._root, key=key, source=source)
            else:
                await obstore.put_async(self._remote, key, source, attributes={"Content-Type": content_type})

    async def copy(self, key: str, *, to: str) -> None:
        """Store what lies under `key` under another key as well. An object store does that without us reading it."""
        for name in (key, to):
            _check_key(name)
        with _failures_told(f"{key} could not be copied to {to} in {self._place}", reading=True):
            if self._root is not None:
                await asyncio.to_thread(folder.write_durably, self._root, key=to, source=self._root / key)
            else:
                await obstore.copy_async(self._remote, key, to)

    async def read(self, key: str) -> bytes:
        """Return a small object whole."""
        _check_key(key)
        with _failures_told(f"{key} could not be read from {self._place}", reading=True):
            found = await obstore.get_async(self._remote, key)
            return bytes(await found.bytes_async())

    async def size(self, key: str) -> int | None:
        """Return the object's size in bytes, None if there is none."""
        _check_key(key)
        try:
            with _failures_told(f"{key} could not be looked up in {self._place}", reading=True):
                return (await obstore.head_async(self._remote, key))["size"]
        except ObjectMissing:
            return None

    async def stream(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to, not including, `end`, about 1 MiB at a time.

        The range must begin within the object. Failures, ObjectMissing too, are raised while iterating.
        """
        _check_key(key)
        with _failures_told(f"{key} could not be read from {self._place}", reading=True):
            if end is not None:
                found = await obstore.get_async(self._remote, key, options={"range": (start, end)})
            elif start:
                found = await obstore.get_async(self._remote, key, options={"range": {"offset": start}})
            else:
                found = await obstore.get_async(self._remote, key)
            chunks = found.stream(min_chunk_size=CHUNK_BYTES)
        while True:
            # The reader's own exceptions surface at `yield`: they must stay outside of the translation.
            with _failures_told(f"{key} could not be read from {self._place}", reading=True):
                chunk = await anext(chunks, None)
            if chunk is None:
                return
            yield bytes(chunk)

    async def open_file(self, key: str) -> tuple[BinaryIO, int] | None:
        """Open the file that the object is, for the caller to close, and return its size too; None in a cloud.

        Raises ObjectMissing.
        """
        _check_key(key)
        if self._root is None:
            return None
        with _failures_told(f"{key} could not be read from {self._place}", reading=True):
            return await asyncio.to_thread(folder.open_sized, self._root / key)

    async def link(self, key: str, *, seconds: int) -> str | None:
        """Return an address that opens the object to everybody for so long; None where only we can read: a folder."""
        _check_key(key)
        if isinstance(self._remote, LocalStore | MemoryStore):
            return None
        with _failures_told(f"No link to {key} could be made by {self._place}"):
            return await obstore.sign_async(self._remote, "GET", key, timedelta(seconds=seconds))

    async def link_origin(self) -> str | None:
        """Return the scheme, host and port of those links; None where there are none."""
        link = await self.link("origin", seconds=1)
        if link is None:
            return None
        parts = urlsplit(link)
        return f"{parts.scheme}://{parts.netloc}"

    async def list(self, prefix: str) -> list[str]:
        """Return the keys below `prefix`."""
        _check_key(prefix)
        with _failures_told(f"{prefix} could not be listed in {self._place}"):
            return [found["path"] async for batch in obstore.list(self._remote, prefix=prefix) for found in batch]

    async def delete(self, key: str) -> None:
        """Delete the object; a missing one is fine."""
        _check_key(key)
        try:
            with _failures_told(f"{key} could not be deleted from {self._place}", reading=True):
                await obstore.delete_async(self._remote, key)
        except ObjectMissing:
            return

    async def check(self) -> None:
        """Write, read back and delete a tiny object. Raises StorageFailed with a sentence that says what to do."""
        key, data = f"checks/{secrets.token_hex(8)}", secrets.token_bytes(32)
        try:
            await self.put_bytes(key, data, content_type="application/octet-stream")
            same = await self.read(key) == data
            await self.delete(key)
        except StorageFailed as error:
            advice = "its owner, its mode and the free space" if self._root else "the address and the credentials"
            raise StorageFailed(f"{error} Check {advice} of the storage at {self._place}.") from error
        if not same:
            raise StorageFailed(f"The storage at {self._place} gave back other bytes than were written.")


def _check_key(key: str) -> None:
    if not _KEY.fullmatch(key):
        raise ValueError(f"not a storage key: {key!r}")


def _path_of(url: str) -> Path:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise StorageFailed("A file:// storage address needs three slashes and a full path: file:///srv/reelay/media.")
    return Path(unquote(parts.path))


@contextmanager
def _failures_told(sentence: str, *, reading: bool = False) -> Iterator[None]:
    """Turn what obstore and the file system raise into StorageFailed; when `reading`, "not found" is ObjectMissing."""
    try:
        yield
    except _FAILURES as error:
        kind = ObjectMissing if reading and isinstance(error, FileNotFoundError) else StorageFailed
        raise kind(f"{sentence}: {_reason(error)}.") from error


def _reason(error: BaseException) -> str:
    """Return the first line: obstore appends a dump of its internals."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    first, *_ = str(error).splitlines() or [type(error).__name__]
    return clean(first, limit=300).rstrip(".")
