"""Who is calling: credentials seen lately, kept in memory so shortly that a revocation bites within 5 seconds."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from app.db import access, tokens
from app.db.access import Key, Project
from app.db.engine import Connection, Database
from app.db.jobs import Owner
from app.db.tokens import Token
from app.domain import secrets
from app.domain.actor import Actor
from app.domain.errors import NotFound

KEPT_SECONDS = 4.0
MOST_KEPT = 4096


Found = tuple[Key, Token | None] | None


@dataclass(frozen=True, slots=True)
class Caller:
    """A credential that works, and its project."""

    key: Key
    """The key; for a client token the one that minted it, narrowed to what the token allows."""
    project: Project
    token: Token | None = None
    actor: Actor | None = None
    """Who it is in this very request, for the record of what it changes."""

    @property
    def credential_id(self) -> str:
        """What signed URLs name, and end with: the token if there is one, or the key."""
        return self.key.id if self.token is None else self.token.id

    @property
    def token_id(self) -> str | None:
        return None if self.token is None else self.token.id

    @property
    def owner(self) -> Owner:
        """Whose jobs this caller may see."""
        return Owner(project_id=self.key.project_id, subject=self.key.subject)


class KeyRing:
    """Looks up callers. Only credentials that work are kept, by the hash of the secret or by their id."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[float, Caller]] = {}

    async def by_secret(self, db: Database, secret: str) -> Caller | None:
        """Return who calls with this secret; None unless it is a credential that works."""
        if not secrets.well_formed(secret):
            return None
        return await self._look_up(db, secrets.hash_of(secret), lambda conn: _with_secret(conn, secret))

    async def by_id(self, db: Database, credential_id: str) -> Caller | None:
        """Return who signed a URL in the name of this credential; None unless it works."""
        return await self._look_up(db, credential_id, lambda conn: _with_id(conn, credential_id))

    async def _look_up(self, db: Database, name: str, find: Callable[[Connection], Found]) -> Caller | None:
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


def still_works(conn: Connection, caller: Caller, *, now: datetime) -> bool:
    """Tell whether the caller's credential works now, whatever was known at the door."""
    return _works(_with_id(conn, caller.credential_id), now=now)


def _working(conn: Connection, db: Database, found: Found) -> Caller | None:
    if found is None or not _works(found, now=db.now(conn)):
        return None
    key, token = found
    project = access.get_project(conn, key.project_id)
    return Caller(key if token is None else tokens.narrowed(key, token), project, token)


def _works(found: Found, *, now: datetime) -> bool:
    """Tell whether it works: a token ends with its key, if not before."""
    if found is None:
        return False
    key, token = found
    return key.works_at(now) and (token is None or token.works_at(now))


def _with_secret(conn: Connection, secret: str) -> Found:
    if secrets.is_token(secret):
        return _of_token(conn, tokens.find(conn, secret))
    key = access.find_key(conn, secret)
    return None if key is None else (key, None)


def _with_id(conn: Connection, credential_id: str) -> Found:
    if credential_id.startswith("tok_"):
        return _of_token(conn, tokens.with_id(conn, credential_id))
    try:
        return access.get_key(conn, credential_id), None
    except NotFound:
        return None


def _of_token(conn: Connection, token: Token | None) -> Found:
    return None if token is None else (access.get_key(conn, token.key_id), token)
