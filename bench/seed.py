"""Millions of jobs, made by the database itself, in pieces: first without indexes, which are built at the end."""

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa

PROJECTS = 64
PIECE = 100_000
BYTES_PER_ROW = 1_200
"""On disk, with indexes and a share of the log."""

FINISHED = {
    "model": "'veo2/image-to-video'",
    "input": """'{"prompt": "The sailboat drifts on.", "image_url": "https://pictures.example/boat.jpg"}'""",
    "metadata": """'{"order": "A-17"}'""",
    "priority": "0",
    "state": "'succeeded'",
    "version": "4",
    "attempts": "1",
    "saves": "1",
    "bad_results": "0",
    "event_count": "5",
    "due_at": "t",
    "created_at": "t",
    "started_at": "t",
    "finished_at": "t",
    "upstream_path": "'/v2/video/generations'",
    "generation_id": "random_id",
    "expected_seconds": "45",
    "estimated_micros": "2500000",
    "estimate_basis": "'listed'",
    "charged_micros": "2500000",
    "charge_basis": "'reported'",
    "settled": "true",
    "video": """'{"key": "videos/some.mp4", "poster_key": "videos/some.jpg", "size_bytes": 1400000}'""",
}
UNFINISHED = dict.fromkeys(("finished_at", "charged_micros", "charge_basis", "video"), "NULL") | {"settled": "false"}
GENERATING = FINISHED | UNFINISHED | {"state": "'generating'"}
QUEUED = GENERATING | {"state": "'queued'", "started_at": "NULL", "generation_id": "NULL", "attempts": "0"}
"""Jobs as they stand in a row, each value as SQL; `t` is a moment of the past year, later for later jobs."""

POSTGRES_ROWS = """
SELECT 'job_' || lpad(to_hex(i), 32, '0') AS id, 'proj_' || (i % {projects}) AS project_id, md5(i::text) AS random_id,
  now() - interval '1 year' + i * interval '6 seconds' AS t
FROM generate_series({first}, {last}) AS i
"""
SQLITE_ROWS = """
WITH RECURSIVE numbers(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM numbers WHERE i < {last})
SELECT printf('job_%032x', i) AS id, 'proj_' || (i % {projects}) AS project_id, lower(hex(randomblob(16))) AS random_id,
  strftime('%Y-%m-%d %H:%M:%S.000000', 'now', '-1 year', '+' || (i * 6) || ' seconds') AS t
FROM numbers
"""
POSTGRES_INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'jobs' AND indexname NOT LIKE 'pk_%'"
SQLITE_INDEXES = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'jobs' AND sql IS NOT NULL"


class Filling:
    """A migrated database, while it is being filled."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._is_sqlite = url.startswith("sqlite")

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        """A connection for which speed is all: whoever is cut off here begins anew."""
        if self._is_sqlite:
            path = sa.make_url(self.url).database or ""
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-200000"):
                    connection.execute(f"PRAGMA {pragma}")
                yield connection
            return
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connected:
            connected.execute("SET synchronous_commit = off")
            connected.execute("SET maintenance_work_mem = '256MB'")
            yield connected

    def make_projects(self) -> None:
        """Make the projects to which the jobs belong."""
        with self._connection() as connection:
            for number in range(PROJECTS):
                values = f"'proj_{number}', 'bench {number}', CURRENT_TIMESTAMP || '.000000'"
                if not self._is_sqlite:
                    values = f"'proj_{number}', 'bench {number}', now()"
                connection.execute(f"INSERT INTO projects (id, name, created_at) VALUES ({values})")

    def drop_indexes(self) -> list[str]:
        """Drop the indexes of the jobs but the primary key; return what makes them again."""
        with self._connection() as connection:
            found = connection.execute(SQLITE_INDEXES if self._is_sqlite else POSTGRES_INDEXES).fetchall()
            for name, _ in found:
                connection.execute(f"DROP INDEX {name}")
        return [definition for _, definition in found]

    def build_indexes(self, definitions: list[str]) -> None:
        """Build the indexes, and let Postgres count its rows now rather than by itself while we measure."""
        with self._connection() as connection:
            for definition in definitions:
                connection.execute(definition)
            if not self._is_sqlite:
                connection.execute("ALTER TABLE jobs SET (autovacuum_enabled = off)")
                connection.execute("ANALYZE jobs")

    def add(self, job: Mapping[str, str], *, first: int, last: int, until: float = float("inf")) -> int:
        """Add the jobs numbered so, a piece at a time until that moment; return the number of the last one made."""
        made = first - 1
        with self._connection() as connection:
            while made < last and time.monotonic() < until:
                upto = min(made + PIECE, last)
                connection.execute(self._insert(job, first=made + 1, last=upto))
                made = upto
        return made

    def _insert(self, job: Mapping[str, str], *, first: int, last: int) -> str:
        rows = (SQLITE_ROWS if self._is_sqlite else POSTGRES_ROWS).format(first=first, last=last, projects=PROJECTS)
        columns, values = ", ".join(job), ", ".join(job.values())
        return f"INSERT INTO jobs (id, project_id, {columns}) SELECT id, project_id, {values} FROM ({rows}) AS made"
