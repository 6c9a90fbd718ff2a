"""What a project, or all of them, used: jobs, seconds of video and money, summed from jobs, deleted ones included."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, assert_never

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db.jobs import Owner
from app.db.tables import jobs, keys, projects

T = jobs.c


class GroupBy(StrEnum):
    DAY = "day"
    MODEL = "model"
    KEY = "key"
    SUBJECT = "subject"
    PROJECT = "project"


@dataclass(frozen=True, slots=True)
class Sums:
    """`open_micros` are the estimates of jobs whose cost is not known yet."""

    jobs: int
    seconds: float
    charged_micros: int
    open_micros: int


@dataclass(frozen=True, slots=True)
class Group:
    """One group and its sums; `name` is a key's, or a project's."""

    group: str | None
    name: str | None
    sums: Sums


_CHARGED = sa.func.coalesce(sa.func.sum(sa.func.coalesce(T.charged_micros, 0) + T.extra_micros), 0)
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
    names = _names(conn, [row[0] for row in rows], group_by=group_by)
    return [Group(row[0], names.get(row[0]), _sums(row[1:])) for row in rows]


def total(conn: Connection, *, owner: Owner, start: datetime, end: datetime) -> Sums:
    """Return the sums of all jobs created from `start` until before `end`."""
    return _sums(conn.execute(sa.select(*_SUMS).where(*_within(owner, start=start, end=end))).one())


def _within(owner: Owner, *, start: datetime, end: datetime) -> list[sa.ColumnElement[bool]]:
    mine = owner.clauses(with_deleted=True)
    if owner.project_id is None:
        mine.append(T.project_id.in_(sa.select(projects.c.id)))  # so that the index by project and time serves it
    return [*mine, T.created_at >= start, T.created_at < end]


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
        case GroupBy.PROJECT:
            return T.project_id
        case _:
            assert_never(group_by)


def _names(conn: Connection, ids: list[str | None], *, group_by: GroupBy) -> dict[str | None, str]:
    named = {GroupBy.KEY: keys, GroupBy.PROJECT: projects}.get(group_by)
    if named is None:
        return {}
    found = conn.execute(sa.select(named.c.id, named.c.name).where(named.c.id.in_([id_ for id_ in ids if id_])))
    return {row.id: row.name for row in found}


def jobs_of_month(conn: Connection, project_ids: list[str], *, now: datetime) -> dict[str, int]:
    """Return how many jobs each of these projects made in the month of `now`, by project."""
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    mine = T.project_id.in_(project_ids), T.created_at >= first
    rows = conn.execute(sa.select(T.project_id, sa.func.count()).where(*mine).group_by(T.project_id))
    return {row[0]: row[1] for row in rows}


def _sums(row: Any) -> Sums:
    count, seconds, charged, unsettled = row
    return Sums(int(count), float(seconds), int(charged), int(unsettled))
