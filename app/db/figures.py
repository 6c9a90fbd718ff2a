"""Counts for whoever watches the deployment: each statement reads an index of what is under way, never all jobs."""

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import deployment, gate, log_reader
from app.db.columns import one_of
from app.db.engine import Database
from app.db.jobs import IN_DOUBT
from app.db.tables import deliveries, jobs, months, projects, webhooks
from app.domain.figures import Backlog, Books, Crowd, Doubts, Ended, Figures
from app.domain.money import month_of
from app.domain.states import OCCUPYING, TERMINAL, JobState

LATELY = timedelta(minutes=10)
T, M, D = jobs.c, months.c, deliveries.c


def _crowds(*narrowed: sa.ColumnElement[bool]) -> sa.Select[Any]:
    counted = sa.select(T.state, T.model, sa.func.count(), sa.func.min(T.created_at))
    return counted.where(*narrowed).group_by(T.state, T.model)


# One statement for each partial index. Its states are spelled as the index has them, or it would not be used.
LIVE = [
    _crowds(T.state == sa.literal_column(f"'{JobState.QUEUED}'")),
    _crowds(one_of(T.state, OCCUPYING)),
    _crowds(T.state == sa.literal_column(f"'{JobState.SAVING}'")),
]
ENDED = (
    sa.select(T.state, T.model, sa.func.count())
    .where(
        T.finished_at >= sa.bindparam("since"),
        T.deleted_at.is_(None),
        one_of(T.state, TERMINAL),
    )
    .group_by(T.state, T.model)
)
DOUBTS = sa.select(
    sa.func.count(),
    sa.func.count(T.search_ended_at),
    sa.func.coalesce(sa.func.sum(sa.func.coalesce(T.estimated_micros, T.each_micros, T.reserved_micros)), 0),
).where(*IN_DOUBT)
_IN_USE = M.spent_micros + M.reserved_micros
_NEARLY = sa.and_(projects.c.archived_at.is_(None), 9 * projects.c.monthly_budget_micros <= 10 * _IN_USE)
BOOKS = sa.select(
    sa.func.coalesce(sa.func.sum(M.spent_micros), 0),
    sa.func.coalesce(sa.func.sum(M.reserved_micros), 0),
    sa.func.coalesce(sa.func.sum(sa.case((_NEARLY, 1), else_=0)), 0),
).select_from(  # outer, so that each project is asked for one month, and not each month for its project
    projects.outerjoin(months, sa.and_(M.project_id == projects.c.id, M.month == sa.bindparam("month")))
)
BACKLOG = (
    sa.select(sa.func.count(D.id), sa.func.min(D.event_at), sa.func.min(D.due_at))
    .select_from(
        webhooks.outerjoin(deliveries, sa.and_(D.webhook_id == webhooks.c.id, D.state == sa.literal_column("'owed'")))
    )
    .where(webhooks.c.disabled_at.is_(None))
)


def live(conn: Connection) -> list[Crowd]:
    """Return the jobs that have not ended, by state and model."""
    return [Crowd(JobState(row[0]), *row[1:]) for each in LIVE for row in conn.execute(each)]


def doubts(conn: Connection) -> Doubts:
    """Return how many jobs may have been bought unseen."""
    return Doubts(*map(int, conn.execute(DOUBTS).one()))


def backlog(conn: Connection) -> Backlog:
    """Return what is owed to webhooks."""
    return Backlog(*conn.execute(BACKLOG).one())


def read(conn: Connection, db: Database) -> Figures:
    """Return the figures as they are now."""
    now = db.now(conn)
    hold, model_holds = gate.reasons(conn)
    counts = log_reader.counts(conn)
    return Figures(
        at=now,
        live=live(conn),
        ended=[Ended(JobState(row[0]), *row[1:]) for row in conn.execute(ENDED, {"since": now - LATELY})],
        doubts=doubts(conn),
        parked=counts.parked,
        strays=counts.strays,
        hold=hold,
        model_holds=model_holds,
        pace_per_minute=gate.read(conn).pace_per_minute,
        books=Books(*map(int, conn.execute(BOOKS, {"month": month_of(now)}).one())),
        backlog=backlog(conn),
        beat_at=deployment.last_beat(conn),
        log_read_at=counts.read_at,
    )
