"""Statements, compiled once for all databases of a kind: else each test's own engine compiles all that it uses anew."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect


def share() -> None:
    """Let all engines of this process use what any of them has compiled; those of one kind differ in their address."""
    known: dict[Any, Any] = {}
    DefaultDialect.__eq__ = lambda ours, other: type(ours) is type(other)
    DefaultDialect.__hash__ = lambda ours: hash(type(ours))

    @sa.event.listens_for(sa.Engine, "engine_connect")
    def _use_known(conn: sa.Connection) -> None:
        conn.execution_options(compiled_cache=known)
