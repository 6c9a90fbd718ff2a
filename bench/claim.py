"""What a worker's claim of 100 due jobs takes among millions of finished ones, and among a fifth as many."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa

from app.db import claims
from app.db.claims import Lease
from app.db.engine import Connection, Database
from app.db.tables import events, jobs, submissions
from app.domain.states import JobState
from bench import databases, seed
from bench.figures import Figure, Goal
from bench.plan import Plan
from bench.seed import Filling

DUE = 100
LIVE = 1_000
"""So many jobs generate, and so many are queued."""
CLAIMS_A_ROUND = 3
GOAL = Goal(of="ratio", at="most", limit=1.2)
DAY = timedelta(days=1)
SLACK_BYTES = 6 << 30


@dataclass(frozen=True, slots=True)
class Tables:
    """A database, and how many jobs it holds."""

    url: str
    rows: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's claim, and what makes a hundred jobs due for it, again and again."""

    name: str
    make_due: Callable[[Connection, Database], None]
    take: Callable[[Connection, Database], int]


def measure(plan: Plan) -> list[Figure]:
    """Fill two databases of each kind, and claim from both in turn."""
    _require_room(plan.rows)
    until = time.monotonic() + plan.seeding_seconds
    with TemporaryDirectory(prefix="reelay-bench-") as folder, databases.postgres() as server:

        def copy_sqlite(url: str) -> str:
            path = Path(sa.make_url(url).database or "")
            return f"sqlite:///{shutil.copyfile(path, path.with_name('large.db'))}"

        def copy_postgres(url: str) -> str:
            template = url.replace("+psycopg", "")
            return databases.for_psycopg(server.create_database(template=template))

        kinds = {
            "Postgres": (databases.for_psycopg(server.create_database()), copy_postgres),
            "SQLite": (f"sqlite:///{folder}/small.db", copy_sqlite),
        }
        for url, _ in kinds.values():
            databases.migrate(url)
        with ThreadPoolExecutor() as threads:  # each is filled by one core
            filling = {
                kind: threads.submit(_fill, url, copy, rows=plan.rows, until=until)
                for kind, (url, copy) in kinds.items()
            }
        return [
            figure
            for kind, filled in filling.items()
            for claim in CLAIMS
            for figure in _figures(kind, claim, *filled.result(), plan=plan)
        ]


def _require_room(rows: int) -> None:
    needed = int(rows * 1.2 * 2 * seed.BYTES_PER_ROW) + SLACK_BYTES
    folder = tempfile.gettempdir()
    if shutil.disk_usage(folder).free < needed:
        raise RuntimeError(
            f"{rows:,} rows need {needed >> 30} GiB in {folder}. Name a larger folder in TMPDIR, or take fewer: "
            "make bench BENCH=claim BENCH_ROWS=500000"
        )


def _fill(url: str, copy: Callable[[str], str], *, rows: int, until: float) -> tuple[Tables, Tables]:
    """Fill the database with a fifth of the rows and a copy of it with all, or with as many as there is time for."""
    small = Filling(url)
    small.make_projects()
    indexes = small.drop_indexes()
    small_rows = small.add(seed.FINISHED, first=1, last=rows // 5)
    large = Filling(copy(url))
    large_rows = large.add(seed.FINISHED, first=small_rows + 1, last=rows, until=until)
    for filling, made in ((small, small_rows), (large, large_rows)):
        filling.add(seed.GENERATING, first=made + 1, last=made + LIVE)
        filling.add(seed.QUEUED, first=made + LIVE + 1, last=made + 2 * LIVE)
        filling.build_indexes(indexes)
        with _opened(filling.url) as db, db.transaction() as conn:
            later = db.now(conn) + DAY
            conn.execute(jobs.update().where(jobs.c.state == JobState.GENERATING).values(due_at=later))
    return Tables(small.url, small_rows), Tables(large.url, large_rows)


@contextmanager
def _opened(url: str) -> Iterator[Database]:
    db = Database(url)
    try:
        yield db
    finally:
        db.close()


def _figures(kind: str, claim: Claim, small: Tables, large: Tables, *, plan: Plan) -> list[Figure]:
    """Claim from both so many times, now from the one first and now from the other."""
    took: dict[str, list[float]] = {small.url: [], large.url: []}
    with _opened(small.url) as small_db, _opened(large.url) as large_db, asyncio.Runner() as runner:
        pair = [small_db, large_db]
        for number in range(CLAIMS_A_ROUND * plan.rounds + 1):
            for db in pair if number % 2 else reversed(pair):
                milliseconds = _timed(claim, db, runner)
                if number:  # the first warms up
                    took[db.url].append(milliseconds)
    few, many = took[small.url], took[large.url]
    note = "" if large.rows == plan.rows else f"no time for {plan.rows:,}"
    return [
        Figure(name=f"{claim.name} among {small.rows:,}, {kind}", unit="ms", samples=few),
        Figure(
            name=f"{claim.name} among {large.rows:,}, {kind}", unit="ms", samples=many, beside=few, goal=GOAL, note=note
        ),
    ]


def _timed(claim: Claim, db: Database, runner: asyncio.Runner) -> float:
    """Return the milliseconds of one claim, as a worker makes it, its commit included."""
    runner.run(db.write(lambda conn: claim.make_due(conn, db)))
    began = time.perf_counter()
    taken = runner.run(db.write(lambda conn: claim.take(conn, db)))
    milliseconds = (time.perf_counter() - began) * 1000
    assert taken == DUE, f"{taken} claimed"
    return milliseconds


def _make_polls_due(conn: Connection, db: Database) -> None:
    generating = sa.select(jobs.c.id).where(jobs.c.state == JobState.GENERATING)
    chosen = conn.execute(generating.order_by(sa.func.random()).limit(DUE)).scalars().all()
    earlier = db.now(conn) - timedelta(minutes=1)
    conn.execute(jobs.update().where(jobs.c.id.in_(chosen)).values(due_at=earlier))


def _take_polls(conn: Connection, db: Database) -> int:
    now = db.now(conn)
    due = claims.due_polls(conn, now=now, limit=DUE)
    claims.book_polls(conn, {job.id: now + DAY for job in due}, now=now)
    return len(due)


def _queue_again(conn: Connection, _db: Database) -> None:
    conn.execute(submissions.delete())
    conn.execute(events.delete())
    back = {"state": JobState.QUEUED, "attempts": 0, "lease_token": None, "lease_expires_at": None}
    conn.execute(jobs.update().where(jobs.c.state == JobState.SUBMITTING).values(**back))


def _admit(conn: Connection, db: Database) -> int:
    now = db.now(conn)
    lease = Lease("bench", now + timedelta(minutes=1))
    return len(claims.admit(conn, now=now, max_in_flight=LIVE + DUE, lease=lease, worker="bench", deployment="bench"))


CLAIMS = (
    Claim("claim 100 due polls", _make_polls_due, _take_polls),
    Claim("admit 100 of 1,000 queued", _queue_again, _admit),
)
