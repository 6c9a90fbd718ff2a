"""Who reads the usage log, and how often: one replica at a time, and no more a minute than is our share."""

from datetime import datetime, timedelta

from app.db import log_reader
from app.db.engine import Connection
from tests.db.conftest import T0, later

LEASE = log_reader.READ_LEASE.total_seconds()


def claimed(conn: Connection, reader: str, *, now: datetime) -> bool:
    read = log_reader.claim_read(conn, reader=reader, now=now, look_back=timedelta(hours=1), interval=timedelta(0))
    return read is not None


def test_claim_read__one_replica_until_it_is_silent(conn: Connection) -> None:
    assert claimed(conn, "a", now=T0)
    assert not claimed(conn, "b", now=later(LEASE - 1))
    assert claimed(conn, "a", now=T0), "its own read it may begin anew"
    assert claimed(conn, "b", now=later(LEASE))
    assert log_reader.may_read_page(conn, reader="a", now=later(LEASE)) is None
    assert not log_reader.end_read(conn, reader="a")
    assert log_reader.end_read(conn, reader="b")
    assert claimed(conn, "a", now=later(LEASE + 1))


def test_claim_read__a_page_goes_on_with_the_lease(conn: Connection) -> None:
    assert claimed(conn, "a", now=T0)
    assert log_reader.may_read_page(conn, reader="a", now=later(LEASE - 1))
    assert not claimed(conn, "b", now=later(LEASE))
    assert claimed(conn, "b", now=later(2 * LEASE - 1))


def test_may_read_page__has_its_share_of_a_minute(conn: Connection) -> None:
    assert claimed(conn, "a", now=T0)
    taken = [log_reader.may_read_page(conn, reader="a", now=T0) for _ in range(log_reader.READS_PER_MINUTE + 1)]
    assert taken == [True] * log_reader.READS_PER_MINUTE + [False]
    assert not log_reader.may_read_page(conn, reader="a", now=later(59))
    assert log_reader.may_read_page(conn, reader="a", now=later(60))
