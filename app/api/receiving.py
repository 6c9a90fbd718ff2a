"""An upload on its way in: one form with one file, written to the local disk as it comes and never held whole."""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fastapi import Request

from app.api import multipart, wire
from app.domain.errors import InvalidRequest, StorageFailed, UnsupportedMedia

PART = "file"
WRITE_BYTES = 256 << 10
"""So much is gathered before a thread writes it."""
AROUND_BYTES = 64 << 10
"""What a form may hold around its file: boundaries and the heads of parts."""


@dataclass(frozen=True, slots=True)
class Received:
    """A file as it came, until the request is answered."""

    path: Path
    sha256: str


@asynccontextmanager
async def received(request: Request, *, cap: int, spool: Path | None) -> AsyncIterator[Received]:
    """Receive the form's one file of at most `cap` bytes into a folder of its own, which goes at the end.

    Raises UnsupportedMedia, PayloadTooLarge, InvalidRequest, and StorageFailed if the disk does not take it.
    """
    content_type = wire.ContentType.of(request)
    if content_type.kind != "multipart/form-data":
        raise UnsupportedMedia("Send the file as a form: curl -F file=@picture.jpg.")
    folder = await asyncio.to_thread(_new_folder, spool)
    try:
        path = Path(folder.name) / PART
        sha256 = await _written(request, path, content_type=content_type.header, cap=cap)
        yield Received(path, sha256)
    finally:
        await asyncio.to_thread(folder.cleanup)


def _new_folder(spool: Path | None) -> tempfile.TemporaryDirectory[str]:
    try:
        if spool is not None:
            spool.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=spool)
    except OSError as error:
        raise StorageFailed(f"No temporary file can be made: {error.strerror}.") from error


async def _written(request: Request, path: Path, *, content_type: str, cap: int) -> str:
    """Write the file and return its hash."""
    gathered = bytearray()
    try:
        with path.open("xb") as file:
            reader = _FileReader(content_type, file)

            async def take(chunk: bytes) -> None:
                gathered.extend(chunk)
                if len(gathered) >= WRITE_BYTES:
                    await asyncio.to_thread(reader.write, bytes(gathered))
                    gathered.clear()

            await wire.pour(request, take, cap=cap + AROUND_BYTES)
            await asyncio.to_thread(reader.write, bytes(gathered))
            reader.finish()
    except OSError as error:
        raise StorageFailed(f"An upload could not be written: {error.strerror}.") from error
    return reader.sha256()


class _FileReader(multipart.Reader):
    """Writes the part `file` and refuses every other."""

    def __init__(self, content_type: str, file: IO[bytes]) -> None:
        super().__init__(content_type)
        self._file = file
        self._hash = hashlib.sha256()
        self._begun = False

    def begin(self, name: str, *, is_file: bool) -> None:
        if name != PART:
            shown = wire.shown(name)
            message = f"There is no field {shown!r} here. The form has one part, {PART!r}: the file."
            raise InvalidRequest(message, code="unknown_field", param=shown)
        if self._begun:
            raise InvalidRequest("Send one file at a time.", code="duplicate_field", param=PART)
        self._begun = True

    def take(self, data: memoryview) -> None:
        self._file.write(data)
        self._hash.update(data)

    def finish(self) -> None:
        super().finish()
        if not self._begun:
            raise InvalidRequest(f"The form has no part {PART!r}: send the file as one.", param=PART)

    def sha256(self) -> str:
        """Return the hash of what was written, in hex."""
        return self._hash.hexdigest()
