"""What an operator looks at first, beside the figures: counts over all projects, by indexes of what is not finished."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import figures, gate
from app.db.columns import one_of
from app.db.tables import jobs, webhooks, workers
from app.domain.states import TERMINAL, JobState
from app.domain.webhooks import Disabled

T, W = jobs.c, webhooks.c
SILENT_AFTER = timedelta(seconds=60)
"""A worker says every few seconds that it lives."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How many there are, and since when the oldest of them is there."""

    count: int = 0
    oldest_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker of the last day, and when it last said that it lives."""

    id: str
    started_at: datetime
    seen_at: datetime


UNFINISHED = [state for state in JobState if state not in TERMINAL]
_HELD = sa.select(sa.func.count(), sa.func.min(T.created_at)).where(one_of(T.state, [JobState.QUEUED]))
_GIVEN_UP = sa.select(sa.func.count()).where(W.disabled_reason.in_([Disabled.GONE, Disabled.FAILING]))
_WORKERS = sa.select(workers.c.id, workers.c.started_at, workers.c.beat_at).order_by(workers.c.id)


def unfinished(conn: Connection) -> dict[JobState, Standing]:
    """Return the jobs that have not ended, by state; states without any as well."""
    crowds = figures.live(conn)
    found = {state: [crowd for crowd in crowds if crowd.state is state] for state in UNFINISHED}
    return {
        state: Standing(sum(crowd.count for crowd in of_it), min((crowd.oldest_at for crowd in of_it), default=None))
        for state, of_it in found.items()
    }


def held(conn: Connection) -> Standing:
    """Return the queued jobs that something stands in the way of: a pause, a hold, or what befell the job itself."""
    for_all, by_model = gate.reasons(conn)
    query = _HELD
    if for_all is None:
        query = query.where(sa.or_(T.wait_reason.is_not(None), T.model.in_(sorted(by_model))))
    return Standing(*conn.execute(query).one())


def endpoints_given_up(conn: Connection) -> int:
    """Return how many webhooks were disabled because they are gone or were failing."""
    return int(conn.execute(_GIVEN_UP).scalar_one())


def workers_seen(conn: Connection) -> list[Worker]:
    """Return the workers of the last day."""
    return [Worker(*row) for row in conn.execute(_WORKERS)]
