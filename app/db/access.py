"""Projects and their keys: who may come in, and with what scopes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import paging
from app.db.columns import insert_if_absent
from app.db.tables import keys, projects
from app.domain import secrets
from app.domain.errors import Conflict, NotFound
from app.domain.ids import new_id
from app.domain.secrets import Scope

NAME_SIGNS = r"[\w .:@/-]"
LONGEST_NAME = 100
NAME = f"{NAME_SIGNS}{{1,{LONGEST_NAME}}}"
"""What projects and keys may be called."""
MOST_BUDGET_MICROS = 10**15
MOST_OF_A_LIMIT = 999_999
"""Generations at once, requests a minute."""
Limit = int | list[str] | None
"""A limit's value in its column; None for no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    id: str
    name: str
    max_in_flight: int | None
    monthly_budget_micros: int | None = None
    """The most that may be reserved and spent in a month (UTC); None for no cap."""
    requests_per_minute: int | None = None
    models: list[str] | None = None
    """The only ones that its jobs may use; None for all."""
    created_at: datetime
    archived_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A project's lasting secret, without the secret."""

    id: str
    project_id: str
    name: str
    hint: str
    scopes: frozenset[Scope]
    subject: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    requests_per_minute: int | None = None
    """What it may send, and each token that it mints for itself; None for no limit of its own."""

    def works_at(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    @property
    def may_read(self) -> bool:
        return bool(self.scopes & {Scope.JOBS_READ, Scope.ADMIN})


_PROJECT_COLUMNS = [projects.c[name] for name in Project.__dataclass_fields__]
_PROJECT = sa.select(*_PROJECT_COLUMNS).where(projects.c.id == sa.bindparam("id"))
_KEY_COLUMNS = [keys.c[name] for name in Key.__dataclass_fields__]


def _as_key(row: Any) -> Key:
    return Key(**{**row._mapping, "scopes": frozenset(map(Scope, row.scopes))})


def create_project(conn: Connection, name: str, *, now: datetime, **limits: Limit) -> Project:
    """Create a project, with the `limits` that it begins with; raise Conflict if the name is taken."""
    fresh = {"id": new_id("proj"), "name": name, "created_at": now, "archived_at": None}
    project = Project(**{"max_in_flight": None} | limits | fresh)  # type: ignore[arg-type]  # columns by their names
    row = {column: getattr(project, column) for column in Project.__dataclass_fields__}
    # One statement, so that of two at the same moment the second hears of the first.
    if not insert_if_absent(conn, projects, **row):
        raise Conflict(f"There is a project named {name!r} already.", code="project_exists")
    return project


def limit_project(conn: Connection, name: str, **limits: Limit) -> Project:
    """Give the project these limits, None for none, and leave it the others; raise NotFound.

    What is reserved and spent already stays: a budget below it only takes no new jobs.
    """
    if limits:
        conn.execute(projects.update().where(projects.c.name == name).values(**limits))
    return project_named(conn, name)


def list_projects(conn: Connection) -> list[Project]:
    """Return every project, oldest first."""
    return [Project(**row._mapping) for row in conn.execute(sa.select(*_PROJECT_COLUMNS).order_by(projects.c.id))]


def page_projects(
    conn: Connection, *, archived: bool | None = None, limit: int, after: str | None = None
) -> tuple[list[Project], bool]:
    """Return the newest projects, `archived` or not if that is said, and whether there are more."""
    query = sa.select(*_PROJECT_COLUMNS)
    if archived is not None:
        query = query.where((projects.c.archived_at.is_not if archived else projects.c.archived_at.is_)(None))
    found, has_more = paging.page(conn, query, by=projects.c.id, limit=limit, after=after)
    return [Project(**row._mapping) for row in found], has_more


def get_project(conn: Connection, project_id: str) -> Project:
    """Return the project by its id; raise NotFound."""
    row = conn.execute(_PROJECT, {"id": project_id}).one_or_none()
    if row is None:
        raise NotFound(f"There is no project {project_id[:80]!r}. `reelay projects list` shows them.")
    return Project(**row._mapping)


def project_named(conn: Connection, name: str) -> Project:
    """Return the project; raise NotFound."""
    row = conn.execute(sa.select(*_PROJECT_COLUMNS).where(projects.c.name == name)).one_or_none()
    if row is None:
        raise NotFound(f"There is no project named {name!r}. `reelay projects list` shows them.")
    return Project(**row._mapping)


def archive_project(conn: Connection, name: str, *, now: datetime) -> Project:
    """Let the project make no more jobs; raise NotFound. Archiving again changes nothing.

    What is queued is the caller's to cancel (`revoking.cancel_unsent`).
    """
    # Waits for creates under way, whose rows refer to the project; those that come later see that it is archived.
    conn.execute(sa.select(projects.c.id).where(projects.c.name == name).with_for_update())
    open_still = projects.update().where(projects.c.name == name, projects.c.archived_at.is_(None))
    conn.execute(open_still.values(archived_at=now))
    return project_named(conn, name)


def create_key(
    conn: Connection,
    *,
    project_id: str,
    name: str,
    scopes: frozenset[Scope],
    now: datetime,
    subject: str | None = None,
    expires_at: datetime | None = None,
    requests_per_minute: int | None = None,
) -> tuple[Key, str]:
    """Create a key and return it with its secret, which nobody can read again."""
    secret = secrets.new_key()
    row = conn.execute(
        keys.insert()
        .values(
            id=new_id("key"),
            project_id=project_id,
            name=name,
            hash=secrets.hash_of(secret),
            hint=secrets.hint_of(secret),
            scopes=sorted(scopes),
            subject=subject,
            created_at=now,
            expires_at=expires_at,
            requests_per_minute=requests_per_minute,
        )
        .returning(*_KEY_COLUMNS)
    ).one()
    return _as_key(row), secret


def list_keys(conn: Connection, *, project_id: str | None = None) -> list[Key]:
    """Return keys, oldest first; of one project or of all."""
    query = sa.select(*_KEY_COLUMNS).order_by(keys.c.id)
    if project_id is not None:
        query = query.where(keys.c.project_id == project_id)
    return [_as_key(row) for row in conn.execute(query)]


def granted(key: Key) -> dict[str, Any]:
    """Return what the record keeps of a new key."""
    return {"name": key.name, "scopes": sorted(key.scopes), "subject": key.subject}


def page_keys(conn: Connection, *, project_id: str, limit: int, after: str | None = None) -> tuple[list[Key], bool]:
    """Return the newest keys of a project, and whether there are more."""
    theirs = keys.c.project_id == project_id
    query = sa.select(*_KEY_COLUMNS).where(theirs)
    found, has_more = paging.page(conn, query, by=keys.c.id, limit=limit, after=after, among=[theirs])
    return [_as_key(row) for row in found], has_more


def revoke_key(conn: Connection, key_id: str, *, now: datetime, cancel_queued: bool = False) -> Key:
    """Revoke a key for good; raise NotFound. Revoking again changes nothing, but for `cancel_queued`.

    That says that its jobs, where they come back unbought, are canceled; those that are queued are the caller's to
    cancel (`revoking.cancel_unsent`).
    """
    # Waits for creates under way, whose rows refer to the key; those that come later see that it is revoked.
    conn.execute(sa.select(keys.c.id).where(keys.c.id == key_id).with_for_update())
    conn.execute(keys.update().where(keys.c.id == key_id, keys.c.revoked_at.is_(None)).values(revoked_at=now))
    if cancel_queued:
        conn.execute(keys.update().where(keys.c.id == key_id).values(cancel_queued=True))
    return get_key(conn, key_id)


def get_key(conn: Connection, key_id: str) -> Key:
    """Return the key by its id; raise NotFound."""
    row = conn.execute(sa.select(*_KEY_COLUMNS).where(keys.c.id == key_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no key {key_id[:80]!r}. `reelay keys list` shows them.")
    return _as_key(row)


def find_key(conn: Connection, secret: str) -> Key | None:
    """Return the key that this secret opens, working or not; None if there is none."""
    row = conn.execute(sa.select(*_KEY_COLUMNS).where(keys.c.hash == secrets.hash_of(secret))).one_or_none()
    return None if row is None else _as_key(row)
