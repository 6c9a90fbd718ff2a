"""What an operator looks at first costs little: no statement of it reads the jobs that have ended."""

import pytest

from app.db import overview
from app.db.engine import Connection


@pytest.mark.parametrize("number", range(len(overview.statements())))
def test_overview__is_read_from_indexes_of_what_is_not_finished(conn: Connection, number: int) -> None:
    text = str(overview.statements()[number].compile(conn, compile_kwargs={"literal_binds": True}))
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql("SET LOCAL enable_seqscan = off")
    word = "EXPLAIN QUERY PLAN" if conn.dialect.name == "sqlite" else "EXPLAIN"
    plan = str(conn.exec_driver_sql(f"{word} {text}").all())
    partial = ("ix_jobs_queue", "ix_jobs_occupying", "ix_jobs_save", "ix_jobs_doubtful", "ix_deliveries_owed")
    assert any(name in plan for name in partial), plan
