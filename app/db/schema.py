"""The schema's version: bring it up, take it down, tell whether it fits this build."""

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from app.db.tables import metadata

ROOT = Path(__file__).resolve().parents[2]


def _config(conn: Connection) -> Config:
    config = Config(ROOT / "alembic.ini")
    config.attributes["connection"] = conn
    return config


def upgrade(conn: Connection, *, to: str = "head") -> None:
    """Bring the schema up to `to`. Two at the same moment wait for each other on Postgres."""
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('reelay migrate'))")
    command.upgrade(_config(conn), to)


def downgrade(conn: Connection, *, to: str = "base") -> None:
    """Take the schema down to `to`."""
    command.downgrade(_config(conn), to)


def current(conn: Connection) -> str | None:
    """Return the revision that the database has; None for an empty one."""
    return MigrationContext.configure(conn).get_current_revision()


def head() -> str | None:
    """Return the newest revision of this build."""
    return ScriptDirectory(str(ROOT / "migrations")).get_current_head()


def revisions() -> list[str]:
    """Return the revisions that this build knows, newest first."""
    return [found.revision for found in ScriptDirectory(str(ROOT / "migrations")).walk_revisions()]


def is_ready(conn: Connection) -> bool:
    """Tell whether the schema is at least as new as this build. One unknown here is newer: old and new overlap."""
    revision = current(conn)
    if revision is None:
        return False
    known = revisions()
    return revision == known[0] or revision not in known


def differences(conn: Connection) -> list[object]:
    """Return what the tables say and the database does not, as `alembic check` finds it."""
    return list(compare_metadata(MigrationContext.configure(conn, opts={"compare_type": True}), metadata))
