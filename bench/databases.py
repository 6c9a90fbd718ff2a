"""Databases to measure on: SQLite, and a Postgres that syncs its commits as one in production does."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from app.db import access, schema
from app.db.engine import Connection, Database
from app.domain.secrets import DEFAULT_SCOPES
from tests.postgres import Databases, open_postgres

POSTGRES = {
    "fsync": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "timezone": "UTC",
}


@contextmanager
def postgres() -> Iterator[Databases]:
    """Run a Postgres, or use the one that TEST_DATABASE_URL names."""
    with open_postgres(POSTGRES) as server:
        yield server


@contextmanager
def one_of_each() -> Iterator[dict[str, tuple[str, Path]]]:
    """Yield the URL of a migrated SQLite and a migrated Postgres database, each with a folder for a service's data."""
    with TemporaryDirectory(prefix="reelay-bench-") as folder, postgres() as server:
        urls = {"SQLite": f"sqlite:///{folder}/SQLite/reelay.db", "Postgres": for_psycopg(server.create_database())}
        for url in urls.values():
            migrate(url)
        folders = {kind: Path(folder, kind) for kind in urls}
        for path in folders.values():
            path.mkdir(exist_ok=True)
        yield {kind: (url, folders[kind]) for kind, url in urls.items()}


def migrate(url: str) -> None:
    """Build the schema as an operator does: by the migrations."""
    database = Database(url)
    with database.transaction() as conn:
        schema.upgrade(conn)
    database.close()


def for_psycopg(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def new_caller(conn: Connection, project: str, *, now: datetime) -> tuple[str, str, str]:
    """Make a project with a key; return the ids of both and the secret."""
    owner = access.create_project(conn, project, now=now)
    key, secret = access.create_key(conn, project_id=owner.id, name="bench", scopes=DEFAULT_SCOPES, now=now)
    return owner.id, key.id, secret
