"""Who is calling: keys seen lately, kept in memory for so short a time that a revocation bites within 5 seconds."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from app.db import access
from app.db.access import Key, Project
from app.db.engine import Connection, Database
from app.db.jobs import Owner
from app.domain import secrets
from app.domain.errors import NotFound

KEPT_SECONDS = 4.0
MOST_KEPT = 4096


@dataclass(frozen=True, slots=True)
class Caller:
    """A key that works, and its project."""

    key: Key
    project: Project

    @property
    def owner(self) -> Owner:
        """Whose jobs this caller may see."""
        return Owner(project_id=self.key.project_id, subject=self.key.subject)


class KeyRing:
    """Looks up callers. Only keys that work are kept, by the hash of the secret or by their id."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[float, Caller]] = {}

    async def by_secret(self, db: Database, secret: str) -> Caller | None:
        """Return who calls with this secret; None unless it is a key that works."""
        if not secrets.well_formed(secret):
            return None
        return await self._look_up(db, secrets.hash_of(secret), lambda conn: access.find_key(conn, secret))

    async def by_id(self, db: Database, key_id: str) -> Caller | None:
        """Return who signed a URL in the name of this key; None unless the key works."""
        return await self._look_up(db, key_id, lambda conn: _key_with_id(conn, key_id))

    async def _look_up(self, db: Database, name: str, find: Callable[[Connection], Key | None]) -> Caller | None:
        kept = self._kept.get(name)
        if kept is not None and self._clock() < kept[0]:
            return kept[1]
        asked_at = self._clock()
        caller = await db.read(lambda conn: _working(conn, db, find(conn)))
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        if caller is None:
            self._kept.pop(name, None)
        else:
            self._kept[name] = (asked_at + KEPT_SECONDS, caller)
        return caller


def _working(conn: Connection, db: Database, key: Key | None) -> Caller | None:
    if key is None or not key.works_at(db.now(conn)):
        return None
    return Caller(key, access.get_project(conn, key.project_id))


def _key_with_id(conn: Connection, key_id: str) -> Key | None:
    try:
        return access.get_key(conn, key_id)
    except NotFound:
        return None
