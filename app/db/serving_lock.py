"""One serving process a SQLite file: two would each be the single writer."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class AlreadyServed(Exception):
    """Another process serves this file."""


@contextmanager
def held(database_path: Path) -> Iterator[None]:
    """Hold the right to serve the file; raise AlreadyServed. The kernel lets go when the process dies, however."""
    path = database_path.with_name(database_path.name + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyServed(
                f"{database_path} is served by another Reelay process. Stop that one, or use Postgres for several."
            ) from None
        yield
