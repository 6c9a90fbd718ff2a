"""What a project knows of those who signed in elsewhere: one key without a secret, in whose name they come.

Without such a key nobody comes in; revoking it ends all of them, their client tokens and their links. So jobs, events,
usage and links need to know nothing but keys.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import access
from app.db.access import Key
from app.db.tables import keys, projects
from app.domain.errors import NotFound
from app.domain.ids import new_id
from app.domain.secrets import Scope

NAME = "sign-in"
NO_SECRET = "none"  # noqa: S105  # there is none
_MARK = "sign-in:"
"""Stands, with the project's id, in place of the hash: no secret hashes to it, and a project has it once."""


def key_of(conn: Connection, project: str) -> Key | None:
    """Return the key in whose name people come into the project, working or not; None if there is none."""
    query = sa.select(keys.c.id).join(projects, keys.c.hash == sa.literal(_MARK) + projects.c.id)
    key_id = conn.execute(query.where(projects.c.name == project)).scalar_one_or_none()
    return None if key_id is None else access.get_key(conn, key_id)


def open_project(
    conn: Connection, project: str, *, scopes: frozenset[Scope], now: datetime, expires_at: datetime | None = None
) -> Key:
    """Let people who signed in into the project, with these scopes at most; raise NotFound.

    Where they may come in already, the scopes and the expiry are changed. A revoked key stays so: there is a new one.
    """
    # One after the other: the project has one such key.
    query = sa.select(projects.c.id).where(projects.c.name == project).with_for_update()
    project_id = conn.execute(query).scalar_one_or_none()
    if project_id is None:
        raise NotFound(f"There is no project named {project!r}. `reelay projects list` shows them.")
    known = key_of(conn, project)
    if known is not None and known.revoked_at is None:
        conn.execute(keys.update().where(keys.c.id == known.id).values(scopes=sorted(scopes), expires_at=expires_at))
        return access.get_key(conn, known.id)
    if known is not None:
        conn.execute(keys.update().where(keys.c.id == known.id).values(hash=f"{_MARK}{project_id}:{known.id}"))
    row = {
        "id": new_id("key"),
        "project_id": project_id,
        "name": NAME,
        "hash": f"{_MARK}{project_id}",
        "hint": NO_SECRET,
        "scopes": sorted(scopes),
        "created_at": now,
        "expires_at": expires_at,
    }
    conn.execute(keys.insert().values(row))
    return access.get_key(conn, row["id"])
