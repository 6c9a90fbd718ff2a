"""What an operator looks at first: counts over all projects, each by an index of what is not finished."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import gate
from app.db.columns import one_of
from app.db.log_reader import IN_DOUBT
from app.db.tables import deliveries, jobs, webhooks, workers
from app.domain.states import OCCUPYING, TERMINAL, JobState
from app.domain.webhooks import Disabled

T, D, W = jobs.c, deliveries.c, webhooks.c


@dataclass(frozen=True, slots=True)
class Standing:
    """How many there are, and since when the oldest of them is there."""

    count: int = 0
    oldest_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Deliveries:
    """What is owed to endpoints, and how many of these were given up as failing or gone."""

    owed: int
    oldest_due_at: datetime | None
    given_up: int


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker of the last day, and when it last said that it lives."""

    id: str
    started_at: datetime
    seen_at: datetime


UNFINISHED = [state for state in JobState if state not in TERMINAL]
_COUNTED = (sa.func.count(), sa.func.min(T.created_at))
_BY_STATE = [
    sa.select(T.state, *_COUNTED).where(one_of(T.state, states)).group_by(T.state)
    for states in ([JobState.QUEUED], OCCUPYING, [JobState.SAVING])  # the words of the indexes
]
_AT_RISK = sa.select(sa.func.sum(sa.func.coalesce(T.estimated_micros, T.reserved_micros))).where(*IN_DOUBT)
_OWED = sa.select(sa.func.count(), sa.func.min(D.due_at)).where(D.state == sa.literal_column("'owed'"))
_GIVEN_UP = sa.select(sa.func.count()).where(W.disabled_reason.in_([Disabled.GONE, Disabled.FAILING]))
_WORKERS = sa.select(workers.c.id, workers.c.started_at, workers.c.beat_at).order_by(workers.c.id)


def unfinished(conn: Connection) -> dict[JobState, Standing]:
    """Return the jobs that have not ended, by state; states without any as well."""
    found = {JobState(row[0]): Standing(row[1], row[2]) for query in _BY_STATE for row in conn.execute(query)}
    return {state: found.get(state, Standing()) for state in UNFINISHED}


def held(conn: Connection) -> Standing:
    """Return the queued jobs that something stands in the way of: a pause, a hold, or what befell the job itself."""
    for_all, by_model = gate.reasons(conn)
    query = sa.select(*_COUNTED).where(one_of(T.state, [JobState.QUEUED]))
    if for_all is None:
        query = query.where(sa.or_(T.wait_reason.is_not(None), T.model.in_(sorted(by_model))))
    return Standing(*conn.execute(query).one())


def at_risk_micros(conn: Connection) -> int:
    """Return what the jobs would cost of which nobody can tell yet whether they were bought."""
    return int(conn.execute(_AT_RISK).scalar_one() or 0)


def webhooks_owed(conn: Connection) -> Deliveries:
    """Return how deliveries to webhooks stand."""
    owed, oldest_due_at = conn.execute(_OWED).one()
    return Deliveries(owed, oldest_due_at, conn.execute(_GIVEN_UP).scalar_one())


def workers_seen(conn: Connection) -> list[Worker]:
    """Return the workers of the last day."""
    return [Worker(*row) for row in conn.execute(_WORKERS)]


def statements() -> list[sa.Select[Any]]:
    """Return what must be answered by indexes, however many jobs have ended."""
    return [*_BY_STATE, _AT_RISK, _OWED]
