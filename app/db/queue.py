"""Who waits before whom: places in a project's queue, and what a new job finds when it joins."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db.gate import REASON
from app.db.tables import gate, jobs, keys, model_holds, projects
from app.domain.job import Job
from app.domain.states import JobState

AT_MOST = 1000
"""Nobody is told a higher place than the one behind these."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a new job finds: its place, what holds submissions of its model, whether its project and key have ended."""

    position: int
    hold_reason: str | None
    is_archived: bool
    is_revoked: bool
    allowed_models: list[str] | None
    """The only ones that its project may use; None for all."""


def arrival(conn: Connection, job: Job) -> Arrival:
    """Return what the job finds that this transaction has just inserted."""
    given = {"project": job.project_id, "its_priority": job.priority, "its_model": job.model, "at_most": AT_MOST + 1}
    row = conn.execute(_ARRIVAL, given | {"its_key": job.key_id}).one()
    ended = row.archived_at is not None, row.revoked_at is not None
    return Arrival(row.place, row.hold or row.model_hold, *ended, row.models)


def positions(conn: Connection, listed: list[Job], *, at_most: int = AT_MOST) -> dict[str, int]:
    """Return the places, in their projects' queues, of those that are queued, by id; `at_most` + 1 for all behind."""
    queued = [job for job in listed if job.state is JobState.QUEUED]
    if len(queued) == 1:
        return {queued[0].id: _ahead_of(conn, queued[0], at_most=at_most) + 1}
    places: dict[str, int] = {}
    for project_id in {job.project_id for job in queued}:
        waiting = sa.select(jobs.c.id).where(jobs.c.project_id == project_id, jobs.c.state == JobState.QUEUED)
        ordered = conn.execute(waiting.order_by(jobs.c.priority, jobs.c.id).limit(at_most)).scalars()
        places |= {id_: place for place, id_ in enumerate(ordered, start=1)}
    return {job.id: places.get(job.id, at_most + 1) for job in queued}


def depth(conn: Connection, *, project_id: str, priority: int, at_most: int = AT_MOST) -> int:
    """Count the project's queued jobs that a new one of this priority would wait for."""
    given = {"project": project_id, "its_priority": priority, "at_most": at_most}
    counted: int = conn.execute(_DEPTH, given).scalar_one()
    return counted


def _ahead_of(conn: Connection, job: Job, *, at_most: int) -> int:
    """Count, without fetching them, the queued jobs of the project that go before."""
    place = {"project": job.project_id, "its_priority": job.priority, "its_id": job.id, "at_most": at_most}
    counted: int = conn.execute(_AHEAD, place).scalar_one()
    return counted


def _counted(*before: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """A count that the index of the queue answers by itself, and that ends at its bound."""
    # Spelled out: Postgres would not see that a parameter names the state of the partial index.
    queued = (jobs.c.project_id == sa.bindparam("project"), jobs.c.state == sa.literal_column(f"'{JobState.QUEUED}'"))
    found = sa.select(jobs.c.id).where(*queued, *before).limit(sa.bindparam("at_most")).subquery()
    return sa.select(sa.func.count()).select_from(found)


# Built once: every create, and every look at a queued job, runs one of them.
_NOT_AFTER = jobs.c.priority <= sa.bindparam("its_priority")
_DEPTH = _counted(_NOT_AFTER)
_AHEAD = _counted(
    _NOT_AFTER, sa.or_(jobs.c.priority < sa.bindparam("its_priority"), jobs.c.id < sa.bindparam("its_id"))
)
_ARRIVAL = (
    sa.select(
        projects.c.archived_at,
        projects.c.models,
        keys.c.revoked_at,
        REASON.label("hold"),
        model_holds.c.reason.label("model_hold"),
        _DEPTH.scalar_subquery().label("place"),  # it counts the new job as well
    )
    .join_from(projects, gate, gate.c.id == 1)
    .outerjoin(keys, keys.c.id == sa.bindparam("its_key"))
    .outerjoin(model_holds, model_holds.c.model == sa.bindparam("its_model"))
    .where(projects.c.id == sa.bindparam("project"))
)
