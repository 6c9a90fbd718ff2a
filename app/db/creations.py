"""What was asked for, and what was made of it, so that asking again makes nothing new."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from app.db.columns import given_rows
from app.db.tables import UtcDateTime, creations

KEPT = timedelta(hours=24)
KEPT_WITHOUT_A_KEY = timedelta(minutes=10)
HIGHEST_BIT = 30
"""Retry counts above it share the last bit that a 32-bit integer has."""

T = creations.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request to make something, as it is known again."""

    project_id: str
    subject: str
    """Empty for a credential that is bound to nobody."""
    key_id: str
    """The credential. A key for idempotency is `idempotency_key`."""
    fingerprint: str
    idempotency_key: str | None
    retry_count: int
    """Which try it is by its sender's own count, from 0."""
    arrived: float
    """When it arrived, on this process's monotonic clock."""


@dataclass(frozen=True, slots=True)
class Creation:
    """What was made for a request with an idempotency key.

    Without a `fingerprint` it was deleted since; without an `answer` alone, that held a secret and was never stored.
    `is_echo`: another request had made it already. An empty `answer` means that it is to be told of as it stands.
    """

    made_id: str
    fingerprint: str
    answer: str | None
    is_echo: bool = False


def find(conn: Connection, asked: Asked, *, now: datetime) -> Creation | None:
    """Return what the request's idempotency key stands for, if it stands for anything yet."""
    row = conn.execute(_FIND, _owner(asked) | {"now": now}).one_or_none()
    return None if row is None else Creation(*row)


def remember(
    conn: Connection,
    asked: Asked,
    *,
    made_id: str,
    answer: str | None,
    now: datetime,
    stands_for: str | None = None,
) -> Creation | None:
    """Note what was made; return what the idempotency key stands for already, if somebody was faster.

    With `stands_for`, what another request had made: `made_id` is then a new id that nothing else has.

    On Postgres this waits for a transaction under way that notes the same key. `answer` is None without a key.
    """
    row = _row(asked, made_id, answer=answer, now=now, stands_for=stands_for)
    if asked.idempotency_key is None:
        conn.execute(_INSERT, row)
        return None
    if conn.execute(_INSERT_KEYED[conn.dialect.name], row).one_or_none() is not None:
        return None
    return Creation(*conn.execute(_FIND, _owner(asked) | {"now": now}).one())


def remember_all(conn: Connection, made: Sequence[tuple[Asked, str, str | None]], *, now: datetime) -> Creation | None:
    """Note what was made for each of several requests, by its id and with its answer, as `remember` does for one.

    Returns what one of their idempotency keys stands for already, if somebody was faster.
    """
    rows = [_row(asked, made_id, answer=answer, now=now) for asked, made_id, answer in made]
    if keyless := [row for row in rows if row["idempotency_key"] is None]:
        conn.execute(_INSERT, keyless)
    keyed = sorted((one for one in made if one[0].idempotency_key is not None), key=_key_of)
    for asked, made_id, answer in keyed:  # in one order, as others may lock some of the same
        if known := remember(conn, asked, made_id=made_id, answer=answer, now=now):
            return known
    return None


def serialise(conn: Connection, *several: Asked) -> None:
    """Let requests of one credential and subject with one content pass one after the other until the transaction ends.

    SQLite's only writer does so anyway.
    """
    if conn.dialect.name != "sqlite":
        conn.execute(_LOCK, {"numbers": sorted({_number(asked) for asked in several})})


def _number(asked: Asked) -> int:
    digest = hashlib.sha256(f"{asked.key_id} {asked.fingerprint} {asked.subject}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


def may_join(conn: Connection, first_tries: Sequence[Asked], *, now: datetime, waited: timedelta) -> bool:
    """Tell whether a retry may have overtaken one of these first tries, which have waited so long at most.

    Then `join` has to be asked for each. Call `serialise` first.
    """
    rows = [{"credential": asked.key_id, "content": asked.fingerprint} for asked in first_tries]
    given = {"rows": rows, "now": now, "arrived_at": now - waited}
    return conn.execute(_OVERTAKEN[conn.dialect.name], given).first() is not None


def join(conn: Connection, asked: Asked, *, now: datetime, waited: timedelta) -> str | None:
    """Return what an earlier try of the same request made, and note that this one has come; None if it is the first.

    Without an idempotency key only the sender's count tells tries of one request from several requests. Each try is
    taken once. A higher one is a retry. A lower one is the original if it had arrived, `waited` ago, before its retry
    made something. Call `serialise` first.
    """
    tried = asked.retry_count
    given = {
        "credential": asked.key_id,
        "its_subject": asked.subject,  # those who sign in elsewhere share a credential
        "content": asked.fingerprint,
        "now": now,
        "arrived_at": now - waited,
        "bit": _bit(asked),
        "none_so_high": 1 << min(tried, HIGHEST_BIT + 1),
        "one_higher": 1 << min(tried + 1, HIGHEST_BIT + 1),
    }
    made_id: str | None = conn.execute(_JOIN, given).scalar_one_or_none()
    return made_id


def answer_of(conn: Connection, made_id: str) -> str | None:
    """Return the stored answer that told of this creation, if it had a key."""
    answer: str | None = conn.execute(sa.select(T.answer).where(T.made_id == made_id)).scalar_one_or_none()
    return answer


def scrub(conn: Connection, *made_ids: str) -> None:
    """Forget what was asked and answered. A key still stands for it, so that nothing is made anew unnoticed."""
    told = sa.or_(T.made_id.in_(made_ids), T.stands_for.in_(made_ids))
    conn.execute(creations.update().where(told).values(answer=None, fingerprint=""))


def forget_expired(conn: Connection, *, now: datetime, limit: int) -> int:
    """Delete rows whose time is over; return how many."""
    old = creations.alias()
    query = sa.select(old.c.made_id).where(old.c.expires_at <= now).order_by(old.c.expires_at).limit(limit)
    doomed = query.with_for_update(skip_locked=True)
    return conn.execute(creations.delete().where(T.made_id.in_(doomed))).rowcount


def _owner(asked: Asked) -> dict[str, Any]:
    return {"project": asked.project_id, "its_subject": asked.subject, "key": asked.idempotency_key}


def _bit(asked: Asked) -> int:
    return 1 << min(asked.retry_count, HIGHEST_BIT)


def _key_of(made: tuple[Asked, str, str | None]) -> tuple[str, str, str]:
    asked = made[0]
    return asked.project_id, asked.subject, asked.idempotency_key or ""


def _row(
    asked: Asked, made_id: str, *, answer: str | None, now: datetime, stands_for: str | None = None
) -> dict[str, Any]:
    return {
        "made_id": made_id,
        "project_id": asked.project_id,
        "subject": asked.subject,
        "idempotency_key": asked.idempotency_key,
        "key_id": asked.key_id,
        "fingerprint": asked.fingerprint,
        "counts": _bit(asked),
        "answer": answer,
        "created_at": now,
        "expires_at": now + (KEPT_WITHOUT_A_KEY if asked.idempotency_key is None else KEPT),
        "stands_for": stands_for,
    }


# Built once: every create runs some of these.
_LOCK = sa.text("SELECT pg_advisory_xact_lock(number) FROM unnest(CAST(:numbers AS bigint[])) AS number")
_INSERT = creations.insert()
_MADE = sa.func.coalesce(T.stands_for, T.made_id)
_FIND = sa.select(_MADE, T.fingerprint, T.answer, T.stands_for.is_not(None)).where(
    T.project_id == sa.bindparam("project"),
    T.subject == sa.bindparam("its_subject"),
    T.idempotency_key == sa.bindparam("key"),
    T.idempotency_key.is_not(None),
    T.expires_at > sa.bindparam("now"),
)


def _insert_keyed(insert: Any) -> Any:
    """A key whose time is over is free again, whether or not its row has been swept."""
    given = insert(creations)
    kept = given.on_conflict_do_update(
        index_elements=[T.project_id, T.subject, T.idempotency_key],
        index_where=T.idempotency_key.is_not(None),
        set_={name: given.excluded[name] for name in T.keys()},  # noqa: SIM118  # a collection of columns, no dict
        where=T.expires_at <= given.excluded.created_at,
    )
    return kept.returning(T.made_id)


_INSERT_KEYED = {"postgresql": _insert_keyed(postgresql.insert), "sqlite": _insert_keyed(sqlite.insert)}


def _join() -> Any:
    """One bit a try. The highest is below `tried` where the number is below 2^tried, above it from 2^(tried+1) on."""
    seen = creations.alias().c
    is_retry = seen.counts < sa.bindparam("none_so_high", type_=sa.BigInteger)
    is_overtaken = sa.and_(
        seen.counts >= sa.bindparam("one_higher", type_=sa.BigInteger),
        seen.counts.bitwise_and(sa.bindparam("bit", type_=sa.Integer)) == 0,
        seen.created_at > sa.bindparam("arrived_at", type_=UtcDateTime),
    )
    newest = (
        sa.select(seen.made_id)
        .where(
            seen.key_id == sa.bindparam("credential"),
            seen.subject == sa.bindparam("its_subject"),
            seen.fingerprint == sa.bindparam("content"),
            seen.idempotency_key.is_(None),
            seen.expires_at > sa.bindparam("now", type_=UtcDateTime),
            sa.or_(is_retry, is_overtaken),
        )
        .order_by(seen.created_at.desc(), seen.made_id.desc())
        .limit(1)
    )
    return (
        creations.update()
        .where(T.made_id == newest.scalar_subquery(), T.fingerprint == sa.bindparam("content"))  # not scrubbed by now
        .values(counts=T.counts.bitwise_or(sa.bindparam("bit", type_=sa.Integer)))
        .returning(T.made_id)
    )


_JOIN = _join()


def _overtaken(dialect: str) -> sa.Select[Any]:
    """As `_join` finds them for a first try, whose bit is the lowest."""
    tries = given_rows(dialect, credential=sa.Text, content=sa.Text)
    return (
        sa.select(T.made_id)
        .join_from(tries, creations, sa.and_(T.key_id == tries.c.credential, T.fingerprint == tries.c.content))
        .where(
            T.idempotency_key.is_(None),
            T.created_at > sa.bindparam("arrived_at", type_=UtcDateTime),
            T.expires_at > sa.bindparam("now", type_=UtcDateTime),
            T.counts.bitwise_and(1) == 0,
        )
        .limit(1)
    )


_OVERTAKEN = {dialect: _overtaken(dialect) for dialect in ("sqlite", "postgresql")}
