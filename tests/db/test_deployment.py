"""What a database knows about those who serve it."""

import pytest

from app.db import deployment, overview
from app.db.engine import Connection
from tests.db.conftest import T0, later


@pytest.mark.parametrize(("host", "seconds"), [(None, 9), ("web_1", 5), ("web", None), ("webX1", 9)])
def test_last_beat__counts_only_workers_of_that_host(conn: Connection, host: str | None, seconds: float | None) -> None:
    deployment.beat(conn, "web_1:7:a", now=T0)
    deployment.beat(conn, "web_1:8:b", now=later(5))
    deployment.beat(conn, "webX1:7:c", now=later(9))
    assert deployment.last_beat(conn, host=host) == (None if seconds is None else later(seconds))


def test_beat__forgets_who_fell_silent_a_day_ago(conn: Connection) -> None:
    for worker, moment in (("a:1", T0), ("b:2", T0), ("b:2", later(3600)), ("b:2", later(86_401))):
        deployment.beat(conn, worker, now=moment)
    assert [worker.id for worker in overview.workers_seen(conn)] == ["b:2"]
