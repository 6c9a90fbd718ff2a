"""A real file system of a few megabytes that a test can fill to the last byte."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.machine import lacks

SIZE = "24m"
HELP = (
    "It needs a small file system of its own: run it as root, allow sudo or user namespaces (unshare -rm), "
    "or name an empty folder on a disk of about 24 MB in TEST_SMALL_DISK."
)


class SmallDisk:
    """`path` is where the processes see it that are started with `prefix`; `_seen` is where this one does."""

    def __init__(self, path: Path, *, seen: Path | None = None, prefix: tuple[str, ...] = ()) -> None:
        self.path, self.prefix = path, prefix
        self.seen = seen or path
        self._filler = self.seen / "filler"

    def fill(self) -> None:
        """Leave not one byte free."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                try:
                    while file.write(bytes(size)):
                        pass
                except OSError as error:
                    assert error.errno == errno.ENOSPC, error

    def free(self) -> None:
        self._filler.unlink()


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Mount one in `folder`: as root, by a sudo that asks nothing, or in a namespace of a process that holds it."""
    if named := os.environ.get("TEST_SMALL_DISK"):
        place = Path(named) / folder.name
        place.mkdir()
        yield SmallDisk(place)
        return
    place = folder / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "reelay-test", str(place)]
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if _works([*as_root, *mount[:4], f"{mount[4]},uid={os.getuid()}", *mount[5:]]):
        try:
            yield SmallDisk(place)
        finally:
            subprocess.run([*as_root, "umount", "--lazy", str(place)], check=True)
        return
    with _held(mount) as holder:
        prefix = ("nsenter", "--preserve-credentials", "--user", "--mount", "--wd", "--target", str(holder), "--")
        yield SmallDisk(place, seen=Path(f"/proc/{holder}/root{place}"), prefix=prefix)


def _works(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@contextmanager
def _held(mount: list[str]) -> Iterator[int]:
    """Mount it in a namespace of an unprivileged user; yield the id of the process that keeps it."""
    script = '"$@" && echo mounted && exec cat'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", *mount]
    try:
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError:
        lacks(HELP)
    with holder:
        assert holder.stdout is not None and holder.stderr is not None
        if holder.stdout.readline() != b"mounted\n":
            lacks(f"{HELP} ({holder.stderr.read().decode().strip()})")
        try:
            yield holder.pid
        finally:
            holder.kill()
