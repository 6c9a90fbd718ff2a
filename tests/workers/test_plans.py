"""What the duties ask of SQLite, which plans without figures of its own: never more than what is under way."""

import re
from typing import Any

import pytest
import sqlalchemy as sa

from app.domain.states import JobState
from tests.conftest import one_database
from tests.workers.conftest import Room

WHOLE = re.compile(
    r"SCAN (jobs|submissions|events|deliveries|files|creations|ledger)( USING .*sqlite_autoindex\w+)?$"
    r"|ix_jobs_(usage|page) \(project_id=\?\)$"
)
"""A step through a table that grows for ever, or through all jobs of a project."""
DUTIES = ("prober", "submitter", "poller", "saver", "reconciler", "sweeper", "prices", "accountant")


@one_database
@pytest.mark.parametrize("sandbox_options", [{"max_in_flight": 1}])
async def test_duties__read_no_table_that_grows(room: Room) -> None:
    asked: dict[str, Any] = {}

    @sa.event.listens_for(room.db.engine, "before_cursor_execute")
    def note(_conn: Any, _cursor: Any, statement: str, given: Any, _context: Any, is_many: bool) -> None:
        asked.setdefault(statement, given[0] if is_many else given)

    made = [await room.create(), await room.create("A raft"), await room.create("[[fault:reset-before]]")]
    for _ in range(12):
        await room.beat(*DUTIES)
        room.clock.pass_seconds(11)
    assert (await room.seen(made[0])).state is JobState.SUCCEEDED
    told = {text: given for text, given in asked.items() if text.startswith(("SELECT", "UPDATE", "DELETE"))}
    with room.db.engine.connect() as conn:
        plans = {
            text: [row.detail for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", given)]
            for text, given in told.items()
        }
    assert len(plans) > 40
    assert {text: plan for text, plan in plans.items() if any(map(WHOLE.search, plan))} == {}
