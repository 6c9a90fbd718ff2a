"""The canary: the upstream key of every test's service, and the watch that it shows nowhere.

Watched are the answers to whoever does not hold the key, what tests and the commands they run print (logs and
tracebacks among it), Postgres tables before they are emptied or dropped, and at the end every file that the tests left:
SQLite databases with their logs, stored objects, the logs of servers. What is seen fails the test that was running.
"""

import mmap
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

UPSTREAM_KEY = "canary-5e1f0a9d27c84b63"
_NEEDLE = UPSTREAM_KEY.encode()
_seen: list[str] = []


def note(place: str) -> None:
    """The key was seen there."""
    _seen.append(place)


def take_seen() -> list[str]:
    """Return where the key was seen since this was asked last."""
    seen, _seen[:] = list(dict.fromkeys(_seen)), []
    return seen


def in_files(folder: Path) -> list[str]:
    """Return the files below `folder` that hold the key, each by its path from there."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if _is_in(path))


def _is_in(path: Path) -> bool:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size == 0:
            return False
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(_NEEDLE) >= 0
    except FileNotFoundError:  # a process that still runs has just deleted it
        return False


TABLES = "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"


def in_table(table: str) -> str:
    """Return a query for the rows of a Postgres table that hold the key: the table's name for each."""
    return f"SELECT '{table}' FROM {table} t WHERE position('{UPSTREAM_KEY}' in t::text) > 0"


def in_postgres(url: str) -> list[str]:
    """Return the tables that hold the key."""
    with psycopg.connect(url) as connection:
        tables = [name for (name,) in connection.execute(TABLES)]
        query = " UNION ALL ".join(in_table(name) for name in tables)
        return sorted({name for (name,) in connection.execute(query)}) if tables else []


def note_printed(command: Any, printed: Iterable[str | bytes | None]) -> None:
    """Note the command if it printed the key."""
    texts = [part if isinstance(part, str) else (part or b"").decode("utf-8", "replace") for part in printed]
    if any(UPSTREAM_KEY in text for text in texts):
        note(f"what this printed: {command}")


@contextmanager
def watching(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Note every answer, and everything a command prints, that shows the key."""
    read, aread, communicate = httpx2.Response.read, httpx2.Response.aread, subprocess.Popen.communicate

    def look(response: httpx2.Response) -> None:
        if response._request is None:
            return  # a stand-in for a server prepares it; the client that gets it reads it again
        if UPSTREAM_KEY in str(response.request.headers.raw):
            return  # an answer to our own client of the upstream, who sent it
        if _NEEDLE in response.content or UPSTREAM_KEY in str(response.headers.raw):
            note(f"the answer to {response.request.method} {response.request.url.copy_with(query=None)}")

    def watched_read(response: httpx2.Response) -> bytes:
        content = read(response)
        look(response)
        return content

    async def watched_aread(response: httpx2.Response) -> bytes:
        content = await aread(response)
        look(response)
        return content

    def watched_communicate(process: Any, *given: Any, **named: Any) -> Any:
        printed = communicate(process, *given, **named)
        note_printed(process.args, printed)
        return printed

    patch.setattr(httpx2.Response, "read", watched_read)
    patch.setattr(httpx2.Response, "aread", watched_aread)
    patch.setattr(subprocess.Popen, "communicate", watched_communicate)
    yield
