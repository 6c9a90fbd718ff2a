"""An upload's bytes, in memory or in a local file: their beginning, their number and their hash."""

import asyncio
import hashlib
from pathlib import Path

from app.domain.errors import StorageFailed

HEAD_BYTES = 64
Source = bytes | Path


async def look(source: Source) -> tuple[bytes, int]:
    """Return the first bytes and how many there are in all. Raises StorageFailed for a file that can't be read."""
    if isinstance(source, bytes):
        return source[:HEAD_BYTES], len(source)
    return await asyncio.to_thread(_look, source)


async def sha256_of(source: Source) -> str:
    """Return the hash in hex. Raises StorageFailed for a file that can't be read."""
    return await asyncio.to_thread(_sha256, source)


def _look(path: Path) -> tuple[bytes, int]:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES), path.stat().st_size
    except OSError as error:
        raise StorageFailed(f"An upload could not be read: {error.strerror}.") from error


def _sha256(source: Source) -> str:
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    try:
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageFailed(f"An upload could not be read: {error.strerror}.") from error
