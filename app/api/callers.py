"""Who is calling: credentials seen lately, kept in memory so shortly that a revocation bites within 5 seconds."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from app.db import access, tokens
from app.db import sign_in as sign_in_keys
from app.db.access import Key, Project
from app.db.engine import Connection, Database
from app.db.jobs import Owner
from app.db.tokens import Token
from app.domain import secrets, sign_in
from app.domain.actor import Actor
from app.domain.errors import NotFound, PermissionDenied
from app.domain.sign_in import SignIn

KEPT_SECONDS = 4.0
MOST_KEPT = 4096


Found = tuple[Key, Token | None] | None


class Desk(Protocol):
    """Checks access tokens of an identity provider."""

    async def read(self, token: str) -> SignIn: ...


@dataclass(frozen=True, slots=True)
class Caller:
    """A credential that works, and its project."""

    key: Key
    """The key; for a token the one that minted it, for a sign-in that of its project: narrowed to what they allow."""
    project: Project
    token: Token | None = None
    actor: Actor | None = None
    """Who it is in this very request, for the record of what it changes."""

    @property
    def kind(self) -> str:
        """What it came with, in a word."""
        if self.token is not None:
            return "token"
        return "sign-in" if self.key.hint == sign_in_keys.NO_SECRET else "key"

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
    """Looks up callers. Only credentials that work are kept, by the hash of the secret or by their id.

    `desk` checks the access tokens of an identity provider; without one there is none.
    """

    def __init__(self, *, desk: Desk | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._desk = desk
        self._clock = clock
        self._kept: dict[str, tuple[float, Caller]] = {}

    @property
    def takes_sign_ins(self) -> bool:
        """Whether access tokens of an identity provider are credentials here."""
        return self._desk is not None

    async def by_secret(self, db: Database, secret: str) -> Caller | None:
        """Return who calls with this secret; None unless it is a credential that works.

        Raises what an access token of the identity provider is refused with.
        """
        if not secrets.well_formed(secret):
            if self._desk is None or not sign_in.looks_like_one(secret):
                return None
            return await self._signed_in(db, secret, self._desk)
        return await self._look_up(db, secrets.hash_of(secret), lambda conn: _with_secret(conn, secret))

    def known(self, secret: str) -> Caller | None:
        """Return who calls with this secret, if that was looked up a moment ago."""
        return self._known(secrets.hash_of(secret))

    async def by_id(self, db: Database, credential_id: str) -> Caller | None:
        """Return who signed a URL in the name of this credential; None unless it works."""
        return await self._look_up(db, credential_id, lambda conn: _with_id(conn, credential_id))

    async def _signed_in(self, db: Database, token: str, desk: Desk) -> Caller | None:
        name = secrets.hash_of(token)
        if (known := self._known(name)) is not None:
            return known
        said = await desk.read(token)
        return await self._look_up(db, name, lambda conn: _with_sign_in(conn, said, now=db.now(conn)))

    def _known(self, name: str) -> Caller | None:
        kept = self._kept.get(name)
        return kept[1] if kept is not None and self._clock() < kept[0] else None

    async def _look_up(self, db: Database, name: str, find: Callable[[Connection], Found]) -> Caller | None:
        if (known := self._known(name)) is not None:
            return known
        asked_at = self._clock()
        working = await db.read(lambda conn: _working(conn, find(conn), now=db.now(conn)))
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        if working is None:
            self._kept.pop(name, None)
            return None
        caller, left_seconds = working
        self._kept[name] = (asked_at + min(KEPT_SECONDS, left_seconds), caller)
        return caller


def still_works(conn: Connection, caller: Caller, *, now: datetime) -> bool:
    """Tell whether the caller's credential works now, whatever was known at the door."""
    # A sign-in ends by itself, which the key in whose name it came knows nothing of.
    return caller.key.works_at(now) and _works(_with_id(conn, caller.credential_id), now=now)


def _working(conn: Connection, found: Found, *, now: datetime) -> tuple[Caller, float] | None:
    """Return the caller if the credential works, and for how many seconds it still will."""
    if found is None or not _works(found, now=now):
        return None
    key, token = found
    project = access.get_project(conn, key.project_id)
    key = key if token is None else tokens.narrowed(key, token)
    left = KEPT_SECONDS if key.expires_at is None else (key.expires_at - now).total_seconds()
    return Caller(key, project, token), left


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


def _with_sign_in(conn: Connection, said: SignIn, *, now: datetime) -> Found:
    """Return its project's key for sign-ins, narrowed to whoever signed in.

    Raises AuthenticationFailed out of the token's time. PermissionDenied says the same of a project that is not there
    and of one that lets nobody in.
    """
    said.require_current(now)
    key = sign_in_keys.key_of(conn, said.project)
    scopes = frozenset() if key is None else said.scopes & tokens.grantable(key)
    if key is None or not key.works_at(now) or not scopes:
        raise PermissionDenied(
            "This sign-in opens no project here. Ask whoever runs this service to let people who sign in into yours.",
            code="sign_in_closed",
        )
    ends_at = said.ends_at if key.expires_at is None else min(said.ends_at, key.expires_at)
    return replace(key, scopes=scopes, subject=said.subject, expires_at=ends_at), None


def _with_id(conn: Connection, credential_id: str) -> Found:
    if credential_id.startswith("tok_"):
        return _of_token(conn, tokens.with_id(conn, credential_id))
    try:
        return access.get_key(conn, credential_id), None
    except NotFound:
        return None


def _of_token(conn: Connection, token: Token | None) -> Found:
    return None if token is None else (access.get_key(conn, token.key_id), token)
