"""Client tokens: short-lived secrets, narrower than the key that minted them, and the caps they carry."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NoReturn

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import paging
from app.db.access import Key
from app.db.tables import UtcDateTime, tokens
from app.domain import secrets
from app.domain.errors import AuthenticationFailed, InsufficientQuota, NotFound, PermissionDenied
from app.domain.ids import new_id
from app.domain.job import Job
from app.domain.money import micros_to_usd
from app.domain.secrets import DEFAULT_SCOPES, Scope

LONGEST = timedelta(hours=1)
KEPT = timedelta(days=30)
"""How long a token is still listed, and its jobs' cost counted, after its end."""
T = tokens.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a token is to allow. None sets no cap; `scopes` None grants all that the key can."""

    lifetime: timedelta
    scopes: frozenset[Scope] | None = None
    models: frozenset[str] | None = None
    origins: frozenset[str] | None = None
    subject: str | None = None
    max_jobs: int | None = None
    max_cost_micros: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A client token without the secret. What it has used is as it was when the row was read."""

    id: str
    project_id: str
    key_id: str
    hint: str
    scopes: frozenset[Scope]
    models: frozenset[str] | None
    origins: frozenset[str] | None
    subject: str
    max_jobs: int | None
    max_cost_micros: int | None
    jobs_made: int
    held_micros: int
    """What is reserved for its jobs until their charges are known."""
    spent_micros: int
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None

    def works_at(self, now: datetime) -> bool:
        return self.revoked_at is None and now < self.expires_at


_COLUMNS = [tokens.c[name] for name in Token.__dataclass_fields__]


def _as_token(row: Any) -> Token:
    sets = {"scopes": frozenset(map(Scope, row.scopes)), "models": _set(row.models), "origins": _set(row.origins)}
    return Token(**{**row._mapping, **sets})


def _set(listed: list[str] | None) -> frozenset[str] | None:
    return None if listed is None else frozenset(listed)


def _list(words: frozenset[str] | None) -> list[str] | None:
    return None if words is None else sorted(words)


def grantable(key: Key) -> frozenset[Scope]:
    """Return what a key may pass on: all that it has but `admin`, which includes the others."""
    return DEFAULT_SCOPES if Scope.ADMIN in key.scopes else key.scopes & DEFAULT_SCOPES


def narrowed(key: Key, token: Token) -> Key:
    """Return the key as its token lets it be used."""
    return replace(
        key, scopes=token.scopes & grantable(key), subject=key.subject or token.subject, expires_at=token.expires_at
    )


def mint(conn: Connection, key: Key, grant: Grant, *, now: datetime) -> tuple[Token, str]:
    """Mint a token and return it with its secret, which nobody can read again.

    Raises PermissionDenied for what the key itself lacks. A token without a subject gets its key's, or one of its own.
    """
    scopes = grantable(key) if grant.scopes is None else grant.scopes
    if lacking := sorted(scopes - grantable(key)):
        why = "admin is never granted over HTTP" if Scope.ADMIN in lacking else f"this key lacks {', '.join(lacking)}"
        raise PermissionDenied(f"A token can't have more than its key: {why}.", code="not_grantable", param="scopes")
    if key.subject is not None and grant.subject not in (None, key.subject):
        message = "This key is bound to a subject: its tokens can have no other. Leave 'subject' out."
        raise PermissionDenied(message, code="not_grantable", param="subject")
    token_id, secret = new_id("tok"), secrets.new_token()
    ends = [now + min(grant.lifetime, LONGEST)] + ([] if key.expires_at is None else [key.expires_at])
    row = {
        "id": token_id,
        "project_id": key.project_id,
        "key_id": key.id,
        "hash": secrets.hash_of(secret),
        "hint": secrets.hint_of(secret),
        "scopes": sorted(scopes),
        "models": _list(grant.models),
        "origins": _list(grant.origins),
        "subject": key.subject or grant.subject or token_id,
        "max_jobs": grant.max_jobs,
        "max_cost_micros": grant.max_cost_micros,
        **dict.fromkeys(("jobs_made", "held_micros", "spent_micros"), 0),
        "created_at": now,
        "expires_at": min(ends),
    }
    return _as_token(conn.execute(tokens.insert().values(row).returning(*_COLUMNS)).one()), secret


def find(conn: Connection, secret: str) -> Token | None:
    """Return the token that this secret opens, working or not; None if there is none."""
    row = conn.execute(sa.select(*_COLUMNS).where(T.hash == secrets.hash_of(secret))).one_or_none()
    return None if row is None else _as_token(row)


def with_id(conn: Connection, token_id: str) -> Token | None:
    """Return the token by its id; None if there is none."""
    row = conn.execute(sa.select(*_COLUMNS).where(T.id == token_id)).one_or_none()
    return None if row is None else _as_token(row)


def page(conn: Connection, key: Key, *, limit: int, after: str | None = None) -> tuple[list[Token], bool]:
    """Return the newest tokens of the key's project, or of its subject alone, and whether there are more."""
    theirs = _within(key)
    query = sa.select(*_COLUMNS).where(*theirs)
    found, has_more = paging.page(conn, query, by=T.id, limit=limit, after=after, among=theirs)
    return [_as_token(row) for row in found], has_more


def revoke(conn: Connection, token_id: str, *, by: Key, now: datetime) -> bool:
    """End a token and tell whether it had not ended so before.

    Raises NotFound, and PermissionDenied to a key that could not have minted it.

    What its jobs have cost, and will, is still counted.
    """
    query = sa.select(T.scopes).where(T.id == token_id, *_within(by))
    scopes = conn.execute(query).scalar_one_or_none()
    if scopes is None:
        raise NotFound(f"There is no token {token_id[:80]!r} here. Check the id and the key's project.")
    if lacking := sorted(set(scopes) - grantable(by)):
        raise PermissionDenied(f"This key lacks {', '.join(lacking)}, which the token has. Use one that has it.")
    working = tokens.update().where(T.id == token_id, T.revoked_at.is_(None))
    return conn.execute(working.values(revoked_at=now)).rowcount == 1


def _within(key: Key) -> list[sa.ColumnElement[bool]]:
    mine: list[sa.ColumnElement[bool]] = [T.project_id == key.project_id]
    return mine if key.subject is None else [*mine, T.subject == key.subject]


def spend(conn: Connection, job: Job, *, now: datetime) -> None:
    """Take the new job from what its token has left of jobs and money, in one statement that checks both and the time.

    Raises PermissionDenied for a model that the token does not allow, InsufficientQuota for a cap that is reached, and
    AuthenticationFailed if the token has ended. On Postgres the token's other new jobs wait for it until the commit.
    """
    given = {"its_id": job.token_id, "its_now": now, "more": job.reserved_micros}
    row = conn.execute(_SPEND, given).one_or_none()
    if row is None:
        _refuse(conn, job, now=now)
    if row.models is not None and job.model not in row.models:
        allowed = ", ".join(row.models)
        raise PermissionDenied(f"This token allows only: {allowed}.", code="model_not_allowed", param="model")


def spend_more(conn: Connection, token_id: str, *, micros: int) -> bool:
    """Reserve so much more for a job of the token, which may have ended meanwhile; False if it has no room."""
    return conn.execute(_SPEND_MORE, {"its_id": token_id, "more": micros}).rowcount == 1


def add(conn: Connection, token_id: str, *, held: int, spent: int) -> None:
    """Bring up to date what the token's jobs hold and have cost."""
    conn.execute(_ADD, {"its_id": token_id, "more_held": held, "more_spent": spent})


def forget_expired(conn: Connection, *, now: datetime, limit: int) -> int:
    """Delete tokens that ended long ago; return how many."""
    old = tokens.alias()
    query = sa.select(old.c.id).where(old.c.expires_at <= now - KEPT).order_by(old.c.expires_at).limit(limit)
    return conn.execute(tokens.delete().where(T.id.in_(query.with_for_update(skip_locked=True)))).rowcount


def _refuse(conn: Connection, job: Job, *, now: datetime) -> NoReturn:
    """Say why the token takes no such job."""
    token = with_id(conn, job.token_id or "")
    if token is None or not token.works_at(now):
        message = "This client token was revoked or has expired. Mint a new one."
        raise AuthenticationFailed(message, headers={"WWW-Authenticate": "Bearer"})
    if token.max_jobs is not None and token.jobs_made >= token.max_jobs:
        message = f"This token has made all of its {token.max_jobs} jobs. Mint a new one."
        raise InsufficientQuota(message, code="token_jobs_spent")
    left = (token.max_cost_micros or 0) - token.held_micros - token.spent_micros
    raise InsufficientQuota(
        f"This job reserves {micros_to_usd(job.reserved_micros)} USD, and {micros_to_usd(max(left, 0))} USD are left "
        f"of this token's {micros_to_usd(token.max_cost_micros or 0)}. Mint a new one, or wait for its jobs to finish.",
        code="token_cost_spent",
    )


# Built once: every create with a token runs the first.
_MORE = sa.bindparam("more", type_=sa.BigInteger)
_HERE = tokens.update().where(T.id == sa.bindparam("its_id"))
_HAS_ROOM = sa.or_(T.max_cost_micros.is_(None), T.held_micros + T.spent_micros + _MORE <= T.max_cost_micros)
_SPEND = (
    _HERE.where(
        T.revoked_at.is_(None),
        T.expires_at > sa.bindparam("its_now", type_=UtcDateTime),
        sa.or_(T.max_jobs.is_(None), T.jobs_made < T.max_jobs),
        _HAS_ROOM,
    )
    .values(jobs_made=T.jobs_made + 1, held_micros=T.held_micros + _MORE)
    .returning(T.models)
)
_SPEND_MORE = _HERE.where(_HAS_ROOM).values(held_micros=T.held_micros + _MORE)
_ADD = _HERE.values(
    held_micros=T.held_micros + sa.bindparam("more_held", type_=sa.BigInteger),
    spent_micros=T.spent_micros + sa.bindparam("more_spent", type_=sa.BigInteger),
)
