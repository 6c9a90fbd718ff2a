"""A database that was restored from a backup has forgotten purchases: notice it, and buy nothing that was bought."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import log_reader
from app.db.columns import PARKED, one_of
from app.db.signals import RECONCILE, SUBMIT, announce
from app.db.tables import jobs, submissions, workers
from app.domain.states import UNBOUGHT

T = jobs.c
PARKED_REASON = "restored_database"


def last_submission(conn: Connection) -> int:
    """Return the highest number that was ever given to a submission, whether its row is still there or not."""
    if conn.dialect.name == "sqlite":
        query = "SELECT seq FROM sqlite_sequence WHERE name = 'submissions'"
    else:
        query = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM submissions_id_seq"
    return int(conn.execute(sa.text(query)).scalar_one_or_none() or 0)


def raise_submissions(conn: Connection, *, above: int) -> None:
    """Give the next submission a number above this: those up to it were used by what this database has forgotten."""
    if conn.dialect.name != "sqlite":
        higher = "SELECT setval('submissions_id_seq', GREATEST(:above, (SELECT last_value FROM submissions_id_seq)))"
        conn.execute(sa.text(higher), {"above": above})
        return
    raised = sa.text("UPDATE sqlite_sequence SET seq = max(seq, :above) WHERE name = 'submissions'")
    if conn.execute(raised, {"above": above}).rowcount == 0:
        conn.execute(
            sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES ('submissions', :above)"), {"above": above}
        )


def newest_moment(conn: Connection) -> datetime | None:
    """Return the latest time that the database knows of: about when the backup was made."""
    newest = [
        sa.select(T.created_at).order_by(T.id.desc()).limit(1),
        sa.select(submissions.c.prepared_at).order_by(submissions.c.id.desc()).limit(1),
        sa.select(workers.c.beat_at).order_by(workers.c.beat_at.desc()).limit(1),
    ]
    known = [moment for query in newest if (moment := conn.execute(query).scalar_one_or_none()) is not None]
    return max(known, default=None)


def park(conn: Connection, *, since: datetime, until: datetime) -> int:
    """Keep what waits to be bought until the log has been read from `since` on, at `until` or later; return how many.

    Jobs made from now on are not concerned: nothing can have been bought for them yet.
    """
    waiting = jobs.update().where(one_of(T.state, UNBOUGHT))
    parked = conn.execute(waiting.values(parked=True, wait_reason=PARKED_REASON)).rowcount
    log_reader.park_state(conn, restored_from=since, parked_until=until)
    announce(conn, RECONCILE)
    return parked


def unpark(conn: Connection) -> int:
    """What could be learned was learned: let the parked jobs be bought; return how many there were."""
    freed = conn.execute(jobs.update().where(PARKED).values(parked=False, wait_reason=None)).rowcount
    log_reader.park_state(conn, restored_from=None, parked_until=None)
    announce(conn, SUBMIT)
    return freed
