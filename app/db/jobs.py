"""Jobs: insert, read, page, and the one function that moves them."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import events, ledger, paging
from app.db.columns import one_of
from app.db.moving import moving
from app.db.signals import POLL, RECONCILE, SAVE, SUBMIT, announce, job_topic
from app.db.tables import job_files, jobs
from app.domain.errors import Conflict, NotFound
from app.domain.job import Job
from app.domain.states import DOUBTFUL, ENDED_FOR_CALLERS, OCCUPYING, TERMINAL, JobState, event_type, may_move

_COLUMNS = [field.name for field in fields(Job)]
_AS_READ = [column.name for column in jobs.c]
_WORK_OF = {
    JobState.QUEUED: SUBMIT,
    JobState.UNCONFIRMED: RECONCILE,
    JobState.ABANDONED: RECONCILE,
    JobState.GENERATING: POLL,
    JobState.SAVING: SAVE,
}
IN_DOUBT = (one_of(jobs.c.state, DOUBTFUL), jobs.c.generation_id.is_(None))


def as_job(row: Any) -> Job:
    """Return the row as a Job; it holds the table's columns in their order."""
    values = dict(zip(_AS_READ, row, strict=True))
    return Job(**values | {"state": JobState(values["state"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose jobs may be seen: those of a project and, where a subject is named, only the subject's own."""

    project_id: str | None
    """None for an operator, who sees every project's."""
    subject: str | None = None

    def clauses(self, *, with_deleted: bool = False) -> list[sa.ColumnElement[bool]]:
        bound: list[sa.ColumnElement[bool]] = []
        if self.project_id is not None:
            bound.append(jobs.c.project_id == self.project_id)
        if not with_deleted:
            bound.append(jobs.c.deleted_at.is_(None))
        return bound if self.subject is None else [*bound, jobs.c.subject == self.subject]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What a page of jobs is narrowed to."""

    states: frozenset[JobState] | None = None
    model: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    unresolved: bool = False
    """Only those in doubt of which the upstream's log shows no trace."""

    def clauses(self) -> list[sa.ColumnElement[bool]]:
        found: list[sa.ColumnElement[bool]] = []
        if self.states is not None:
            found.append(jobs.c.state.in_(sorted(self.states)))
        if self.model is not None:
            found.append(jobs.c.model == self.model)
        if self.created_after is not None:
            found.append(jobs.c.created_at > self.created_after)
        if self.created_before is not None:
            found.append(jobs.c.created_at < self.created_before)
        if self.unresolved:
            found += [*IN_DOUBT, jobs.c.search_ended_at.is_not(None)]
        found.extend(jobs.c.metadata[key].as_string() == value for key, value in self.metadata.items())
        return found


@dataclass(frozen=True, slots=True)
class Page:
    jobs: list[Job]
    has_more: bool


def insert(conn: Connection, job: Job, *, file_ids: Iterable[str] = ()) -> Job:
    """Write a new queued job with its first event and the uploads it uses, and wake the submitter."""
    if job.state is not JobState.QUEUED:
        raise ValueError(f"a job to be bought is not made as {job.state}")
    row = _write(conn, job, told=[event_type(None, JobState.QUEUED)], data={}, file_ids=file_ids)
    announce(conn, SUBMIT, job_topic(job.id))
    return row


def insert_reused(
    conn: Connection, job: Job, *, original: Job, video: dict[str, Any], file_ids: Iterable[str] = ()
) -> Job:
    """Write a new job that has succeeded at its birth: `video` is its own copy of the original's. Nothing is bought.

    No other job is born but as queued. Its timeline holds both events that its caller waits for.
    """
    born = replace(
        job,
        state=JobState.SUCCEEDED,
        reused_from=original.id,
        finished_at=job.created_at,
        video=video,
        video_seconds=original.video_seconds,
        start_by=None,
        estimated_micros=0,
        estimate_basis=None,
        reserved_micros=0,
        billed=False,
        settled=True,
    )
    told = [event_type(None, JobState.QUEUED), event_type(None, JobState.SUCCEEDED)]
    row = _write(conn, born, told=told, data={"reused_from": original.id}, file_ids=file_ids)
    announce(conn, job_topic(job.id))
    return row


def _write(conn: Connection, job: Job, *, told: list[str], data: dict[str, Any], file_ids: Iterable[str]) -> Job:
    """Write the row, the events `told` of it, and the uploads it uses."""
    # Without what is empty, a half of the columns: beyond 50 parameters psycopg takes a statement apart each time anew.
    values = {name: value for name in _COLUMNS if (value := getattr(job, name)) is not None}
    values |= {"event_count": len(told)}
    conn.execute(jobs.insert(), values)
    if links := [{"job_id": job.id, "file_id": file_id} for file_id in sorted(set(file_ids))]:
        conn.execute(job_files.insert(), links)
    for number, type_ in enumerate(told, start=1):
        row = Job(**values | {"event_count": number})
        events.append(conn, row, type=type_, now=row.created_at, data=data)
    return row


def get(conn: Connection, job_id: str, *, owner: Owner, lock: bool = False) -> Job:
    """Return the owner's job; raise NotFound for any other id. `lock` keeps the row until the transaction ends."""
    query = _GET[owner.project_id is None, owner.subject is None, lock]
    given = {"its_id": job_id, "project": owner.project_id, "subject": owner.subject}
    row = conn.execute(query, given).one_or_none()
    if row is None:
        raise not_found(job_id)
    return as_job(row)


def _get(*, everybody: bool, any_subject: bool, lock: bool) -> sa.Select[Any]:
    query = sa.select(jobs).where(jobs.c.id == sa.bindparam("its_id"), jobs.c.deleted_at.is_(None))
    if not everybody:
        query = query.where(jobs.c.project_id == sa.bindparam("project"))
    if not any_subject:
        query = query.where(jobs.c.subject == sa.bindparam("subject"))
    return query.with_for_update() if lock else query


# Built once: every look at a job runs one of them.
_GET = {
    (everybody, any_subject, lock): _get(everybody=everybody, any_subject=any_subject, lock=lock)
    for everybody in (False, True)
    for any_subject in (False, True)
    for lock in (False, True)
}


def not_found(job_id: str) -> NotFound:
    """The one answer for ids that are unknown, deleted or somebody else's."""
    return NotFound(f"There is no job {job_id[:80]!r} here. Check the id and the key's project.")


def find(conn: Connection, job_id: str, *, lock: bool = False) -> Job | None:
    """Return the job, whoever owns it; None if there is none. `lock` keeps the row until the transaction ends."""
    row = conn.execute(_FIND_AND_LOCK if lock else _FIND, {"its_id": job_id}).one_or_none()
    return None if row is None else as_job(row)


_FIND = sa.select(jobs).where(jobs.c.id == sa.bindparam("its_id"))
_FIND_AND_LOCK = _FIND.with_for_update()


def with_ids(conn: Connection, ids: Iterable[str]) -> list[Job]:
    """Return these jobs, whoever owns them, deleted ones as well."""
    return [as_job(row) for row in conn.execute(sa.select(jobs).where(jobs.c.id.in_(sorted(ids))))]


def lock(conn: Connection, job_id: str) -> Job:
    """Return the job as it is now, locked until the transaction ends; it must be there."""
    found = find(conn, job_id, lock=True)
    if found is None:
        raise LookupError(job_id)
    return found


def page(
    conn: Connection,
    *,
    owner: Owner,
    filter: Filter,  # noqa: A002
    limit: int,
    after: str | None = None,
    order: Literal["asc", "desc"] = "desc",
) -> Page:
    """Return one keyset page; `after` is the id of the last job of the page before, which may be deleted by now."""
    query = sa.select(jobs).where(*owner.clauses(), *filter.clauses())
    mine = owner.clauses(with_deleted=True)
    found, has_more = paging.page(conn, query, by=jobs.c.id, limit=limit, after=after, among=mine, order=order)
    return Page([as_job(row) for row in found], has_more=has_more)


def advance(
    conn: Connection,
    job: Job,
    *,
    to: JobState,
    now: datetime,
    data: dict[str, Any] | None = None,
    **changes: Any,
) -> Job | None:
    """Move `job`, as it was read, to the state `to`, with its event; None if somebody else moved it first.

    The row must still have the state, version and lease that `job` carries. The lease ends with the move unless
    `changes` brings a new one. The ledger follows the job's money; `told_by` in the data says whose word it is.
    """
    if not may_move(job.state, to):
        raise ValueError(f"a job never goes from {job.state} to {to}")
    values: dict[str, Any] = {"lease_token": None, "lease_expires_at": None, "wait_reason": None, "due_at": now}
    if job.attachment is not None:
        values |= {"attachment": None}
    if to in ENDED_FOR_CALLERS and job.finished_at is None:
        values |= {"finished_at": now}
    if to in TERMINAL:
        values |= {"result_url": None}
    before = lock(conn, job.id) if ledger.MONEY & changes.keys() else None
    values |= changes
    as_read = {"its_id": job.id, "its_state": job.state, "its_version": job.version, "its_lease": job.lease_token}
    given = {f"new_{name}": value for name, value in values.items()} | {"new_state": to} | as_read
    row = conn.execute(moving(tuple(sorted(values))), given).one_or_none()
    if row is None:
        return None
    moved = as_job(row)
    ledger.follow(conn, before, moved, data=data, now=now)
    events.append(conn, moved, type=event_type(job.state, to), now=now, data=data or {})
    _announce_move(conn, job, moved)
    return moved


def _announce_move(conn: Connection, before: Job, after: Job) -> None:
    announce(conn, job_topic(after.id))
    if topic := _WORK_OF.get(after.state):
        announce(conn, topic)
    if before.state in OCCUPYING and after.state not in OCCUPYING:
        announce(conn, SUBMIT)


def note(conn: Connection, job: Job, *, type: str, now: datetime, data: dict[str, Any], **changes: Any) -> Job:  # noqa: A002
    """Write an event that is no move, with `changes` to the row. The caller holds the row's lock."""
    before = lock(conn, job.id) if ledger.MONEY & changes.keys() else None
    changed = jobs.update().where(jobs.c.id == job.id).values(**changes, event_count=jobs.c.event_count + 1)
    noted = as_job(conn.execute(changed.returning(*jobs.c)).one())
    ledger.follow(conn, before, noted, data=data, now=now)
    events.append(conn, noted, type=type, now=now, data=data)
    announce(conn, job_topic(job.id))
    return noted


def cancel(conn: Connection, job_id: str, *, owner: Owner, now: datetime) -> Job:
    """Cancel the owner's job as far as its state allows; raise Conflict where it is too late."""
    job = get(conn, job_id, owner=owner, lock=True)
    match job.state:
        case JobState.CANCELED | JobState.ABANDONED:
            return job
        case JobState.SUBMITTING if job.cancel_requested_at is None:
            return note(conn, job, type="job.cancel_requested", now=now, data={}, cancel_requested_at=now)
        case JobState.SUBMITTING:
            return job
        case JobState.SAVING:
            raise Conflict("The video is finished and being saved; it is too late to cancel.", code="too_late")
        case JobState.SUCCEEDED | JobState.FAILED:
            raise Conflict(f"The job has {job.state} already; there is nothing to cancel.", code="already_finished")
        case JobState.QUEUED:
            moved = advance(conn, job, to=JobState.CANCELED, now=now, settled=True)
        case JobState.UNCONFIRMED | JobState.GENERATING:
            # What was bought is still paid for: the row is watched until its cost is known.
            moved = advance(conn, job, to=JobState.ABANDONED, now=now, due_at=job.due_at)
    if moved is None:
        raise AssertionError("a locked row cannot be moved by others")
    return moved
