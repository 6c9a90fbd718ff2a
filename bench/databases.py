"""Databases to measure on: SQLite, and a Postgres that syncs its commits as one in production does."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from app.db import access, schema
from app.db.engine import Connection, Database
from app.domain.secrets import DEFAULT_SCOPES
from bench.plan import Kind
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
def one_of_each(kinds: Iterable[Kind]) -> Iterator[dict[Kind, tuple[str, Path]]]:
    """Yield the URL of a migrated database of each kind, with a folder for the data of a service on it."""
    with ExitStack() as stack:
        made: dict[Kind, tuple[str, Path]] = {}
        for kind in kinds:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="reelay-bench-")))
            if kind == "SQLite":
                url = f"sqlite:///{folder}/reelay.db"
            else:
                url = for_psycopg(stack.enter_context(postgres()).create_database())
            migrate(url)
            made[kind] = url, folder
        yield made


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
