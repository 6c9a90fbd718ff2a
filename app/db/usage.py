"""What a project used: jobs, seconds of video and money, summed from the rows of its jobs, deleted ones included."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, assert_never

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db.jobs import Owner
from app.db.tables import jobs, keys

T = jobs.c


class GroupBy(StrEnum):
    DAY = "day"
    MODEL = "model"
    KEY = "key"
    SUBJECT = "subject"


@dataclass(frozen=True, slots=True)
class Sums:
    """`open_micros` are the estimates of jobs whose cost is not known yet."""

    jobs: int
    seconds: float
    charged_micros: int
    open_micros: int


@dataclass(frozen=True, slots=True)
class Group:
    """One group and its sums; `name` is a key's name."""

    group: str | None
    name: str | None
    sums: Sums


_CHARGED = sa.func.coalesce(sa.func.sum(T.charged_micros), 0)
_SUMS = (
    sa.func.count(),
    sa.func.coalesce(sa.func.sum(T.video_seconds), 0.0),
    _CHARGED,
    sa.func.coalesce(
        sa.func.sum(T.estimated_micros).filter(T.charged_micros.is_(None), T.settled.is_(False)),
        0,
    ),
)


def groups(
    conn: Connection, *, owner: Owner, start: datetime, end: datetime, group_by: GroupBy, limit: int
) -> list[Group]:
    """Return the sums of the jobs created from `start` until before `end`: days in order, else the dearest first."""
    group = _grouping(conn, group_by).label("grouped")
    summed = (
        sa.select(group, *_SUMS)
        .where(*_within(owner, start=start, end=end))
        .group_by(group)
        .order_by(*([] if group_by is GroupBy.DAY else [_CHARGED.desc()]), group)
        .limit(limit)
    )
    rows = conn.execute(summed).all()
    names = _key_names(conn, [row[0] for row in rows]) if group_by is GroupBy.KEY else {}
    return [Group(row[0], names.get(row[0]), _sums(row[1:])) for row in rows]


def total(conn: Connection, *, owner: Owner, start: datetime, end: datetime) -> Sums:
    """Return the sums of all jobs created from `start` until before `end`."""
    return _sums(conn.execute(sa.select(*_SUMS).where(*_within(owner, start=start, end=end))).one())


def _within(owner: Owner, *, start: datetime, end: datetime) -> list[sa.ColumnElement[bool]]:
    return [*owner.clauses(with_deleted=True), T.created_at >= start, T.created_at < end]


def _grouping(conn: Connection, group_by: GroupBy) -> sa.ColumnElement[str | None]:
    match group_by:
        case GroupBy.DAY if conn.dialect.name == "sqlite":
            # Text there, in UTC and in the order of RFC 3339.
            return sa.func.substr(sa.type_coerce(T.created_at, sa.Text), 1, 10)
        case GroupBy.DAY:
            return sa.func.to_char(sa.func.timezone("UTC", T.created_at), "YYYY-MM-DD")
        case GroupBy.MODEL:
            return T.model
        case GroupBy.KEY:
            return T.key_id
        case GroupBy.SUBJECT:
            return T.subject
        case _:
            assert_never(group_by)


def _key_names(conn: Connection, ids: list[str | None]) -> dict[str | None, str]:
    found = conn.execute(sa.select(keys.c.id, keys.c.name).where(keys.c.id.in_([id_ for id_ in ids if id_])))
    return {row.id: row.name for row in found}


def _sums(row: Any) -> Sums:
    count, seconds, charged, unsettled = row
    return Sums(int(count), float(seconds), int(charged), int(unsettled))
