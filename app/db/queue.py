"""Who waits before whom: places in a project's queue, and what a new job finds when it joins."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db.columns import given_rows
from app.db.gate import REASON
from app.db.tables import gate, jobs, keys, model_holds, projects
from app.domain.job import Job, Priority
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


def arrivals(conn: Connection, new: Sequence[Job]) -> list[Arrival]:
    """Return what each of these jobs finds, which this transaction has just inserted in this order."""
    kinds = {_kind(job): number for number, job in enumerate(new)}
    rows = [dict(zip(_GIVEN, (number, *kind), strict=True)) for kind, number in kinds.items()]
    given = {"rows": rows, "at_most": AT_MOST + len(new)}
    found = {row.number: row for row in conn.execute(_ARRIVALS[conn.dialect.name], given)}
    arrived: list[Arrival] = []
    behind: Counter[tuple[str, int]] = Counter()
    for job in reversed(new):
        row = found[kinds[_kind(job)]]
        after = sum(behind[job.project_id, priority] for priority in Priority if priority <= job.priority)
        behind[job.project_id, job.priority] += 1
        ended = row.archived_at is not None, row.revoked_at is not None
        arrived.append(Arrival(min(row.place - after, AT_MOST + 1), row.hold or row.model_hold, *ended, row.models))
    return arrived[::-1]


def _kind(job: Job) -> tuple[str, int, str, str | None]:
    """What decides about all that a job finds, but for its turn among those that come with it."""
    return job.project_id, job.priority, job.model, job.key_id


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


def _counted(project: sa.ColumnElement[str], *before: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """A count that the index of the queue answers by itself, and that ends at its bound."""
    # Spelled out: Postgres would not see that a parameter names the state of the partial index.
    queued = (jobs.c.project_id == project, jobs.c.state == sa.literal_column(f"'{JobState.QUEUED}'"))
    found = sa.select(jobs.c.id).where(*queued, *before).limit(sa.bindparam("at_most")).correlate_except(jobs)
    return sa.select(sa.func.count()).select_from(found.subquery())


def _arrivals(dialect: str) -> sa.Select[Any]:
    columns: tuple[type[sa.types.TypeEngine[Any]], ...] = (sa.Integer, sa.Text, sa.SmallInteger, sa.Text, sa.Text)
    new = given_rows(dialect, **dict(zip(_GIVEN, columns, strict=True))).c
    place = _counted(new.its_project, jobs.c.priority <= new.its_priority)
    return (
        sa.select(
            new.number,
            projects.c.archived_at,
            projects.c.models,
            keys.c.revoked_at,
            REASON.label("hold"),
            model_holds.c.reason.label("model_hold"),
            place.scalar_subquery().label("place"),  # it counts the new jobs as well
        )
        .join_from(projects, gate, gate.c.id == 1)
        .join(new.number.table, new.its_project == projects.c.id)
        .outerjoin(keys, keys.c.id == new.its_key)
        .outerjoin(model_holds, model_holds.c.model == new.its_model)
    )


# Built once: every create, and every look at a queued job, runs one of them.
_GIVEN = ("number", "its_project", "its_priority", "its_model", "its_key")
_PROJECT: sa.ColumnElement[str] = sa.bindparam("project", type_=sa.Text)
_NOT_AFTER = jobs.c.priority <= sa.bindparam("its_priority")
_DEPTH = _counted(_PROJECT, _NOT_AFTER)
_AHEAD = _counted(
    _PROJECT, _NOT_AFTER, sa.or_(jobs.c.priority < sa.bindparam("its_priority"), jobs.c.id < sa.bindparam("its_id"))
)
_ARRIVALS = {dialect: _arrivals(dialect) for dialect in ("sqlite", "postgresql")}
