"""A clock that was set back: nothing may wait until it has caught up with what was written ahead of it.

Whatever is written ahead has a longest wait. What lies further ahead than that was written under another clock, and
is due now.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db.columns import one_of
from app.db.tables import gate, jobs, log_reader, model_holds
from app.domain.retry import LONGEST_PAUSE_SECONDS, LONGEST_SAVE_PAUSE_SECONDS, TOO_LARGE_PAUSE_SECONDS
from app.domain.states import WATCHED, JobState

LONGEST_HOLD = timedelta(seconds=LONGEST_PAUSE_SECONDS)
LONGEST_IN_QUEUE = 2 * LONGEST_HOLD
"""Behind a trial that is itself put off."""
LONGEST_TO_POLL = timedelta(hours=1)
"""Also the longest fixed interval, and the longest between two reads of the log, that may be configured."""
LONGEST_TO_SAVE = timedelta(seconds=LONGEST_SAVE_PAUSE_SECONDS)
LONGEST_FOR_TOO_LARGE = timedelta(seconds=TOO_LARGE_PAUSE_SECONDS)

T = jobs.c


def is_due(now: datetime) -> sa.ColumnElement[bool]:
    """Tell whether a queued job may be tried: its time has come, or was written under another clock."""
    return sa.or_(T.due_at <= now, T.due_at > now + LONGEST_IN_QUEUE)


def pull_back(conn: Connection, *, now: datetime, lease: timedelta) -> int:
    """Make due what no clock of ours can have put off for so long; return how many rows that were.

    `lease` is how long leases last here. Nothing is found, and nothing written, while the clock only goes forward.
    """
    polled = one_of(T.state, WATCHED)
    saved = one_of(T.state, [JobState.SAVING])
    longest_to_save = sa.case(
        (T.wait_reason == "result_too_large", now + LONGEST_FOR_TOO_LARGE), else_=now + LONGEST_TO_SAVE
    )
    just_now = now - timedelta(seconds=1)  # what is asked from now on is news to the hold
    statements = [
        jobs.update().where(polled, T.due_at > now + LONGEST_TO_POLL).values(due_at=now),
        jobs.update().where(saved, T.due_at > longest_to_save).values(due_at=now),
        jobs.update()
        .where(T.lease_token.is_not(None), T.lease_expires_at > now + lease)
        .values(lease_expires_at=now + lease),
        gate.update().where(gate.c.held_until > now + LONGEST_HOLD).values(held_until=now),
        gate.update().where(gate.c.held_since > now).values(held_since=just_now),
        gate.update().where(gate.c.next_admission_at > now + LONGEST_HOLD).values(next_admission_at=now),
        model_holds.update().where(model_holds.c.held_until > now + LONGEST_HOLD).values(held_until=now),
        model_holds.update().where(model_holds.c.held_since > now).values(held_since=just_now),
        log_reader.update().where(log_reader.c.next_read_at > now + LONGEST_TO_POLL).values(next_read_at=now),
        log_reader.update().where(log_reader.c.reading_until > now + LONGEST_TO_POLL).values(reading_until=now),
        log_reader.update().where(log_reader.c.audited_at > now).values(audited_at=None),
    ]
    return sum(conn.execute(statement).rowcount for statement in statements)
