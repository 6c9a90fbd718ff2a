"""A video comes down whole or not at all: into a temporary file, its checksum compared, then renamed."""

import hashlib
import os
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from app.cli.exits import Away
from app.cli.service import Service
from app.domain.errors import ReelayError

CHUNK_BYTES = 1 << 18
TRIES = 4
Seen = Callable[[int], None]


class NotSaved(ReelayError):
    """The video is there, and could not be written here."""


def save(service: Service, job: dict[str, Any], path: Path, *, force: bool, seen: Seen) -> Path:
    """Download a finished job's video to `path` and return that; `seen` is told how many bytes have come.

    Raises NotSaved if the file exists (unless `force`) or cannot be written, Away if the download keeps breaking.
    """
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        _fetch(service, job, part, seen=seen)
        _publish(part, path, force=force)
        return path
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _fetch(service: Service, job: dict[str, Any], part: Path, *, seen: Seen) -> None:
    """Download until the bytes are those that the job names."""
    for attempt in range(1, TRIES + 1):
        try:
            if _download(service, job, part, seen=seen) == job["video"]["sha256"]:
                return
            fault = Away("The downloaded video is not the one that the service keeps: its checksum differs.")
        except Away as error:
            fault = error
        if attempt < TRIES:
            service.pause(0.25 * 2**attempt)
    raise Away(f"{fault} The job has succeeded; get its video with `reelay jobs download {job['id']}`.")


def _download(service: Service, job: dict[str, Any], part: Path, *, seen: Seen) -> str:
    digest, count, told = hashlib.sha256(), 0, 0.0
    with service.stream(f"/v1/jobs/{job['id']}/content") as answer:
        try:
            with part.open("wb") as file:
                for chunk in answer.iter_bytes(CHUNK_BYTES):
                    service.pause(0)
                    file.write(chunk)
                    digest.update(chunk)
                    count += len(chunk)
                    if time.monotonic() - told > 0.1:
                        told = time.monotonic()
                        seen(count)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _unwritable(part, error) from None
    return digest.hexdigest()


def _publish(part: Path, path: Path, *, force: bool) -> None:
    try:
        if force:
            part.replace(path)
            return
        try:
            # Unlike a rename, a link never takes the place of a file that appeared meanwhile.
            path.hardlink_to(part)
        except FileExistsError:
            raise
        except OSError:
            if path.exists():
                raise FileExistsError(17, "it exists") from None
            part.replace(path)
    except FileExistsError:
        raise NotSaved(f"{path} exists. Choose another name with -o, or overwrite it with --force.") from None
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> NotSaved:
    return NotSaved(f"{path} cannot be written ({error.strerror}).")
