"""Who reads the upstream's usage log, from when on, and how fast: one row, so that all replicas read as one."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db.columns import PARKED
from app.db.jobs import IN_DOUBT, as_job
from app.db.submissions import as_submission
from app.db.tables import jobs, log_reader, strays, submissions
from app.domain.job import Job, Submission

READS_PER_MINUTE = 100
"""In one minute of ours; the upstream's limit is 200 in any minute, which two of ours may meet in."""
READ_LEASE = timedelta(seconds=60)
SLACK = timedelta(minutes=10)
"""How far the upstream's clock may be behind ours."""
AHEAD = timedelta(hours=12)
"""How far it may be ahead of ours: a clock that was set back must not hide what was bought."""
AUDIT_INTERVAL = timedelta(minutes=15)
LONGEST_LOOK_BACK = timedelta(days=91)
"""A little less than the window that the upstream allows."""


@dataclass(frozen=True, slots=True)
class LogRead:
    """One read of the log: all that was asked for between the two moments."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class ReaderState:
    """The reader's row."""

    reading_by: str | None
    reading_until: datetime | None
    next_read_at: datetime | None
    minute_began_at: datetime | None
    reads_in_minute: int
    audited_at: datetime | None
    restored_from: datetime | None
    parked_until: datetime | None


_STATE = sa.select(*(log_reader.c[name] for name in ReaderState.__dataclass_fields__)).where(log_reader.c.id == 1)


def state(conn: Connection, *, lock: bool = False) -> ReaderState:
    """Return the row; `lock` keeps it until the transaction ends."""
    return ReaderState(*conn.execute(_STATE.with_for_update() if lock else _STATE).one())


def doubtful(conn: Connection, *, limit: int = 1000) -> list[tuple[Job, Submission]]:
    """Return the jobs that may have been bought without our knowing the generation, each with its latest attempt.

    Those still searched for come first: what waits for a person must not keep the others from being found.
    """
    waits_for_a_person = jobs.c.search_ended_at.is_not(None)
    return _with_attempts(conn, sa.select(jobs).where(*IN_DOUBT).order_by(waits_for_a_person, jobs.c.id).limit(limit))


def attachments(conn: Connection) -> list[tuple[Job, Submission]]:
    """Return the jobs for which an operator named a generation that has not been checked yet."""
    return _with_attempts(conn, sa.select(jobs).where(jobs.c.attachment.is_not(None)))


def _with_attempts(conn: Connection, query: sa.Select[Any]) -> list[tuple[Job, Submission]]:
    """Return the jobs of the query, in no order, each with its latest attempt."""
    found = {row.id: as_job(row) for row in conn.execute(query)}
    latest = sa.and_(submissions.c.job_id == jobs.c.id, submissions.c.n == jobs.c.attempts)
    rows = conn.execute(sa.select(submissions).join(jobs, latest).where(jobs.c.id.in_(list(found))))
    return [(found[row.job_id], as_submission(row)) for row in rows]


def due_read(conn: Connection, *, now: datetime, look_back: timedelta) -> LogRead | None:
    """Return what is to be read now; None if there is no need, or it is too early.

    Needed at once: an operator's claim. At the usual pace: jobs in doubt, and a restored database. Every now and
    then: an audit, which finds purchases that nobody had doubts about.
    """
    reader = state(conn)
    claims = [submission.prepared_at for _, submission in attachments(conn)]
    open_doubts = [submission.prepared_at for job, submission in doubtful(conn) if job.search_ended_at is None]
    restored = [reader.restored_from] if reader.restored_from is not None else []
    audit_due = reader.audited_at is None or reader.audited_at + AUDIT_INTERVAL <= now
    early = reader.next_read_at is not None and reader.next_read_at > now
    if not claims and (early or not (open_doubts or restored or audit_due)):
        return None
    asked_for = [*claims, *open_doubts, *restored]
    # What was written under a clock that went ahead of this one may be older than it says.
    audited = [now - look_back] if audit_due or max(asked_for) > now else []
    start = min([*asked_for, *audited]) - SLACK
    return LogRead(max(start, now - LONGEST_LOOK_BACK), now + AHEAD)


def claim_read(
    conn: Connection, *, reader: str, now: datetime, look_back: timedelta, interval: timedelta
) -> LogRead | None:
    """Take the read that is due; None if none is, or if another replica is at it."""
    held = state(conn, lock=True)
    if held.reading_until is not None and held.reading_until > now and held.reading_by != reader:
        return None
    due = due_read(conn, now=now, look_back=look_back)
    if due is not None:
        conn.execute(
            log_reader.update().values(reading_by=reader, reading_until=now + READ_LEASE, next_read_at=now + interval)
        )
    return due


def may_read_page(conn: Connection, *, reader: str, now: datetime) -> bool | None:
    """Book one request to the log: False where this minute has had its share, None where the read was taken over."""
    held = state(conn, lock=True)
    if held.reading_by != reader:
        return None
    values = {"reading_until": now + READ_LEASE}
    if held.minute_began_at is None or not timedelta(0) <= now - held.minute_began_at < timedelta(minutes=1):
        conn.execute(log_reader.update().values(**values, minute_began_at=now, reads_in_minute=1))
        return True
    if held.reads_in_minute >= READS_PER_MINUTE:
        conn.execute(log_reader.update().values(**values))
        return False
    conn.execute(log_reader.update().values(**values, reads_in_minute=held.reads_in_minute + 1))
    return True


def end_read(conn: Connection, *, reader: str) -> bool:
    """Let go of the reading; False if another replica took it over."""
    ended = log_reader.update().where(log_reader.c.reading_by == reader)
    return conn.execute(ended.values(reading_by=None, reading_until=None)).rowcount == 1


@dataclass(frozen=True, slots=True)
class Counts:
    """What an operator should know of: jobs in doubt, those only a person can resolve, parked ones, strays."""

    unconfirmed: int
    unresolved: int
    parked: int
    strays: int
    read_at: datetime | None


_DOUBTFUL = sa.select(sa.func.count()).select_from(jobs).where(*IN_DOUBT)
_COUNTS = sa.select(
    _DOUBTFUL.scalar_subquery(),
    _DOUBTFUL.where(jobs.c.search_ended_at.is_not(None)).scalar_subquery(),
    sa.select(sa.func.count()).select_from(jobs).where(PARKED).scalar_subquery(),
    sa.select(sa.func.count()).select_from(strays).scalar_subquery(),
    log_reader.c.read_at,
).where(log_reader.c.id == 1)


def counts(conn: Connection) -> Counts:
    """Return the numbers that tell whether somebody has to look."""
    return Counts(*conn.execute(_COUNTS).one())


def note_complete(conn: Connection, *, now: datetime, audited: bool) -> None:
    """A read came to its end; `audited` if it looked back far enough to count as an audit."""
    conn.execute(log_reader.update().values(read_at=now, **({"audited_at": now} if audited else {})))


def park_state(conn: Connection, *, restored_from: datetime | None, parked_until: datetime | None) -> None:
    """Note from when on the log must be read before what a restored database holds may be bought; None: no more."""
    conn.execute(log_reader.update().values(restored_from=restored_from, parked_until=parked_until, next_read_at=None))
