"""The last word of a change's transaction: whoever asked for it may still do so, and it is written that they did."""

from typing import Any

from app.api.callers import Caller
from app.api.deps import House, require_working
from app.db import acts
from app.db.engine import Connection


def note(
    conn: Connection,
    action: acts.Action,
    target: str,
    *,
    caller: Caller,
    house: House,
    project_id: str | None = None,
    data: dict[str, Any] | None = None,
) -> None:
    """Write the act; raise AuthenticationFailed if the credential has ended since the door."""
    now = house.db.now(conn)
    require_working(conn, caller, now=now)
    acts.note(conn, action, target=target, project_id=project_id, now=now, data=data)
