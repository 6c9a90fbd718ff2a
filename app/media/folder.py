"""Durable writes into a local folder: once a write returns, the object survives a power cut.

obstore's own local writes are atomic but never synced (seen with 0.12), so a finished video could come
back empty after a crash. Here the bytes are synced before the rename, and the folders after it.
"""

import os
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

PARTIAL = ".partial"
PARTIAL_KEPT_SECONDS = 24 * 3600.0


def make_folder(folder: Path) -> None:
    """Create `folder` and its missing parents, readable by their owner only."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(parent.parent)


def forget_partials(root: Path) -> None:
    """Remove what writes that were cut off by a crash left behind, a day later."""
    oldest = time.time() - PARTIAL_KEPT_SECONDS
    for partial in (root / PARTIAL).glob("*"):
        with suppress(FileNotFoundError):  # another process may be finishing it
            if partial.stat().st_mtime < oldest:
                partial.unlink()


def open_sized(path: Path) -> tuple[BinaryIO, int]:
    """Open a file and return its size as well. Blocks; call it in a thread."""
    file = path.open("rb", buffering=0)
    return file, os.fstat(file.fileno()).st_size


def write_durably(root: Path, *, key: str, source: Path | bytes) -> None:
    """Write `source` to `root/key`: readers see the old object or the whole new one. Blocks; call it in a thread."""
    target = root / key
    make_folder(target.parent)
    make_folder(root / PARTIAL)
    partial = root / PARTIAL / secrets.token_hex(12)
    try:
        _write_synced(partial, source=source)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    _sync_folder(target.parent)


def _write_synced(partial: Path, *, source: Path | bytes) -> None:
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as written:
        if isinstance(source, bytes):
            written.write(source)
        else:
            with source.open("rb") as original:
                shutil.copyfileobj(original, written, 1 << 20)
        written.flush()
        os.fsync(written.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
