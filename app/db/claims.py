"""Claims: what is due is taken by exactly one worker, for a limited time. Any number of replicas share the work."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, zip_longest

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import gate, jobs, submissions
from app.db.clock import is_due
from app.db.columns import one_of
from app.db.gate import Gate
from app.db.jobs import as_job
from app.db.tables import jobs as jobs_table
from app.db.tables import projects
from app.db.tables import submissions as submissions_table
from app.domain.job import Job, Submission
from app.domain.pacing import Pace
from app.domain.states import OCCUPYING, WATCHED, JobState

T = jobs_table.c
TRIAL_PAUSE = timedelta(seconds=150)
"""How long everybody waits for the trial after a hold: longer than a POST may hang."""
LARGEST_ADMISSION = 100


@dataclass(frozen=True, slots=True)
class Lease:
    """A time-limited right to work a row; the token fences the holder from those before and after."""

    token: str
    expires_at: datetime


def admit(
    conn: Connection,
    *,
    now: datetime,
    max_in_flight: int,
    lease: Lease,
    worker: str,
    deployment: str,
    key_print: str | None = None,
) -> list[tuple[Job, Submission]]:
    """Take queued jobs into submission while the upstream has room, round-robin over the projects.

    Holds the gate row, so that replicas never overfill the upstream's limit, nor pass its pace, together.
    """
    if _room(gate.read(conn), _occupied(conn), now=now, max_in_flight=max_in_flight) <= 0:
        return []  # most often there is none: that takes no lock, for which all others would wait
    state = gate.read(conn, lock=True)
    occupied = _occupied(conn)
    room = _room(state, occupied, now=now, max_in_flight=max_in_flight)
    if room <= 0:
        return []
    held = gate.held_models(conn)
    closed = sorted(model for model, hold in held.items() if hold.held_until > now)
    chosen = _fair_choice(conn, now=now, room=room, occupied=occupied, closed=closed)
    admitted = []
    for job in _one_of_each(chosen, models=set(held)):
        taken = jobs.advance(
            conn,
            job,
            to=JobState.SUBMITTING,
            now=now,
            lease_token=lease.token,
            lease_expires_at=lease.expires_at,
            attempts=job.attempts + 1,
        )
        if taken is not None:
            prepared = submissions.prepare(
                conn, taken, now=now, worker=worker, deployment=deployment, key_print=key_print
            )
            admitted.append((taken, prepared))
    _note_admitted(conn, [job for job, _ in admitted], state=state, held=set(held), now=now)
    return admitted


def _room(state: Gate, occupied: dict[str, int], *, now: datetime, max_in_flight: int) -> int:
    """Return how many may go now, by the upstream's places and by the gate."""
    return min(_room_at_gate(state, now=now), max_in_flight - sum(occupied.values()))


def _room_at_gate(state: Gate, *, now: datetime) -> int:
    """Return how many the gate lets go now: none in a pause or hold, one as a trial after."""
    if state.paused_at is not None:
        return 0
    if state.held_until is not None:
        return 0 if state.probe_first or state.held_until > now else 1
    paced = Pace(state.pace_per_minute, state.next_admission_at).room(now)
    return LARGEST_ADMISSION if paced is None else paced


def _one_of_each(chosen: list[Job], *, models: set[str]) -> list[Job]:
    """Keep one trial job of each of these models, and all of the others."""
    kept, tried = [], set()
    for job in chosen:
        if job.model in tried:
            continue
        kept.append(job)
        if job.model in models:
            tried.add(job.model)
    return kept


def _note_admitted(conn: Connection, admitted: list[Job], *, state: Gate, held: set[str], now: datetime) -> None:
    """Rotate the projects, and let everybody wait for the trials among them."""
    if not admitted:
        return
    project_ids = sorted({job.project_id for job in admitted})
    conn.execute(projects.update().where(projects.c.id.in_(project_ids)).values(last_admitted_at=now))
    if state.held_until is not None:
        gate.admit_trial(conn, now=now, pause=TRIAL_PAUSE)
    elif state.pace_per_minute is not None:
        pace = Pace(state.pace_per_minute, state.next_admission_at)
        gate.set_pace(conn, pace.after(len(admitted), now))
    gate.admit_model_trials(conn, held & {job.model for job in admitted}, now=now, pause=TRIAL_PAUSE)


def places_taken(conn: Connection) -> int:
    """Return how many of the upstream's places are taken."""
    return sum(_occupied(conn).values())


def _occupied(conn: Connection) -> dict[str, int]:
    """Return how many of the upstream's places each project takes; a job searched for in vain takes none."""
    count = sa.func.count()
    taking = (one_of(T.state, OCCUPYING), T.search_ended_at.is_(None))
    query = sa.select(T.project_id, count).where(*taking).group_by(T.project_id)
    return {row[0]: row[1] for row in conn.execute(query)}


def _fair_choice(
    conn: Connection, *, now: datetime, room: int, occupied: dict[str, int], closed: list[str]
) -> list[Job]:
    """Choose up to `room` queued jobs: one of each project in turn, those longest not admitted first."""
    # In the order of the queue: where any would do, SQLite goes through all jobs of the project instead.
    due = sa.select(T.id).where(T.project_id == projects.c.id, one_of(T.state, [JobState.QUEUED]), is_due(now))
    first_due = due.order_by(T.priority, T.id).limit(1).scalar_subquery()
    queued = (
        sa.select(projects.c.id, projects.c.max_in_flight)
        .where(first_due.is_not(None))
        .order_by(projects.c.last_admitted_at.nulls_first(), projects.c.id)
    )
    lanes = []
    for project_id, limit in conn.execute(queued).all():
        free = room if limit is None else min(room, limit - occupied.get(project_id, 0))
        lanes.append(_next_of(conn, project_id, now=now, limit=free, closed=closed) if free > 0 else [])
    turns = chain.from_iterable(zip_longest(*lanes))
    return [job for job in turns if job is not None][:room]


def _next_of(conn: Connection, project_id: str, *, now: datetime, limit: int, closed: list[str]) -> list[Job]:
    ready = [
        T.project_id == project_id,
        T.state == JobState.QUEUED,
        is_due(now),
        T.parked.is_(False),
        sa.or_(T.start_by.is_(None), T.start_by > now),
    ]
    if closed:
        ready.append(T.model.not_in(closed))
    query = (
        sa.select(jobs_table).where(*ready).order_by(T.priority, T.id).limit(limit).with_for_update(skip_locked=True)
    )
    return [as_job(row) for row in conn.execute(query)]


_WATCHED = (one_of(T.state, WATCHED), T.generation_id.is_not(None))


_DUE_POLLS = (
    sa.select(jobs_table)
    .where(*_WATCHED, T.due_at <= sa.bindparam("now", type_=T.due_at.type))
    .order_by(T.due_at)
    .limit(sa.bindparam("most"))
    .with_for_update(skip_locked=True)
)
_NEXT_POLL = sa.select(T.due_at).where(*_WATCHED).order_by(T.due_at).limit(1)
_BOOK_POLL = (
    jobs_table.update()
    .where(T.id == sa.bindparam("job"))
    .values(
        due_at=sa.bindparam("next_at", type_=T.due_at.type),
        polled_at=sa.bindparam("now", type_=T.polled_at.type),
        polls=sa.func.coalesce(T.polls, 0) + 1,
    )
)


def due_polls(conn: Connection, *, now: datetime, limit: int) -> list[Job]:
    """Return generations whose poll is due, locked; the caller books their next poll in the same transaction."""
    return [as_job(row) for row in conn.execute(_DUE_POLLS, {"now": now, "most": limit})]


def next_poll_at(conn: Connection) -> datetime | None:
    """Return when the next poll is due; None if nothing is watched."""
    return conn.execute(_NEXT_POLL).scalar_one_or_none()


def book_polls(conn: Connection, next_polls: dict[str, datetime], *, now: datetime) -> None:
    """Book the next poll of each job. An answer that changes nothing then costs no second write."""
    if next_polls:
        rows = [{"job": job, "next_at": at, "now": now} for job, at in sorted(next_polls.items())]
        conn.execute(_BOOK_POLL, rows)


def due_saves(conn: Connection, *, now: datetime, lease: Lease, limit: int) -> list[Job]:
    """Lease finished generations whose video is not yet ours."""
    free = sa.or_(T.lease_token.is_(None), T.lease_expires_at <= now)
    chosen = (
        sa.select(T.id)
        .where(one_of(T.state, [JobState.SAVING]), T.due_at <= now, free)
        .order_by(T.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    statement = (
        jobs_table.update()
        .where(T.id.in_(chosen))
        .values(lease_token=lease.token, lease_expires_at=lease.expires_at, saves=T.saves + 1)
        .returning(*T)
    )
    return [as_job(row) for row in conn.execute(statement)]


def renew(conn: Connection, job_id: str, *, token: str, expires_at: datetime) -> bool:
    """Extend a lease that is still ours; False if it was lost."""
    statement = jobs_table.update().where(T.id == job_id, T.lease_token == token).values(lease_expires_at=expires_at)
    return conn.execute(statement).rowcount == 1


def put_off(conn: Connection, job: Job, *, due_at: datetime, reason: str | None) -> bool:
    """Give a save back until `due_at` without a change of state; False if the lease was lost."""
    statement = (
        jobs_table.update()
        .where(T.id == job.id, T.state == job.state, T.version == job.version, T.lease_token == job.lease_token)
        .values(due_at=due_at, wait_reason=reason, lease_token=None, lease_expires_at=None)
    )
    return conn.execute(statement).rowcount == 1


def expired_submits(conn: Connection, *, now: datetime, limit: int = 100) -> list[Job]:
    """Return jobs whose submitter let its lease run out, locked."""
    query = (
        sa.select(jobs_table)
        .where(T.lease_token.is_not(None), T.state == JobState.SUBMITTING, T.lease_expires_at <= now)
        .order_by(T.lease_expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [as_job(row) for row in conn.execute(query)]


def answered_late(conn: Connection, *, limit: int = 100) -> list[Job]:
    """Return jobs nobody works on whose submission has an answer all the same, locked.

    An id that another job has already stays a conflict for a person to look at.
    """
    submission, other = submissions_table.c, jobs_table.alias()
    taken = sa.exists().where(other.c.generation_id == submission.generation_id)
    answered = sa.exists().where(
        submission.job_id == T.id,
        submission.n == T.attempts,
        submission.state.in_(["accepted", "not_sent", "refused"]),
        ~taken,
    )
    query = (
        sa.select(jobs_table)
        .where(*jobs.IN_DOUBT, answered)
        .order_by(T.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [as_job(row) for row in conn.execute(query)]


def overdue_starts(conn: Connection, *, now: datetime, limit: int = 100) -> list[Job]:
    """Return queued jobs whose start_by has passed, locked."""
    query = (
        sa.select(jobs_table)
        .where(one_of(T.state, [JobState.QUEUED]), T.start_by.is_not(None), T.start_by <= now)
        .order_by(T.start_by)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [as_job(row) for row in conn.execute(query)]
