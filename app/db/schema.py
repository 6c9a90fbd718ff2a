"""The schema's version: bring it up, take it down, tell whether it fits this build.

Only what moves or compares it loads Alembic: 7 MiB, which a service whose schema is current does without.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db.tables import metadata
from app.domain.errors import SettingsError

if TYPE_CHECKING:
    from alembic.config import Config

ROOT = Path(__file__).resolve().parents[2]
VERSION = sa.table("alembic_version", sa.column("version_num", sa.Text))


def _config(conn: Connection) -> "Config":
    from alembic.config import Config  # noqa: PLC0415  # see above

    config = Config(ROOT / "alembic.ini")
    config.attributes["connection"] = conn
    return config


def upgrade(conn: Connection, *, to: str = "head") -> None:
    """Bring the schema up to `to`. Two at the same moment wait for each other on Postgres."""
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('reelay migrate'))")
    from alembic import command  # noqa: PLC0415  # see above

    command.upgrade(_config(conn), to)


def downgrade(conn: Connection, *, to: str = "base") -> None:
    """Take the schema down to `to`."""
    from alembic import command  # noqa: PLC0415  # see above

    command.downgrade(_config(conn), to)


def current(conn: Connection) -> str | None:
    """Return the revision that the database has; None for an empty one."""
    if not sa.inspect(conn).has_table(VERSION.name):
        return None
    return conn.execute(sa.select(VERSION.c.version_num)).scalar_one_or_none()


def head() -> str:
    """Return the newest revision of this build."""
    return revisions()[0]


def revisions() -> list[str]:
    """Return the revisions that this build knows, newest first. Each file is named for its own."""
    files = (ROOT / "migrations" / "versions").glob("[0-9]*_*.py")
    return sorted((file.name.partition("_")[0] for file in files), reverse=True)


def is_ready(conn: Connection) -> bool:
    """Tell whether the schema is at least as new as this build. One unknown here is newer: old and new overlap."""
    revision = current(conn)
    if revision is None:
        return False
    known = revisions()
    return revision == known[0] or revision not in known


def require_ready(conn: Connection) -> None:
    """Raise SettingsError where the service that this database is of has not been, or is older than this build."""
    if not is_ready(conn):
        what = "run `reelay migrate`" if current(conn) else "start the service, or mend REELAY_DATA_DIR"
        raise SettingsError(f"This database has no schema of this build: {what}.")


def make_ready(conn: Connection) -> None:
    """Bring the schema of SQLite up to date; raise SettingsError for an old one on Postgres, where people migrate."""
    if is_ready(conn):
        return
    if conn.dialect.name != "sqlite":
        raise SettingsError("The database's schema is older than this build. Run `reelay migrate` first.")
    upgrade(conn)


def differences(conn: Connection) -> list[object]:
    """Return what the tables say and the database does not, as `alembic check` finds it."""
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415  # see above
    from alembic.migration import MigrationContext  # noqa: PLC0415

    return list(compare_metadata(MigrationContext.configure(conn, opts={"compare_type": True}), metadata))
