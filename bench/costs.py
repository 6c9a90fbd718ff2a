"""What each transaction in a job's life costs on Postgres, among 10,000 jobs in flight: the simulation counts in these.

One job after the other, so that nobody waits for anybody. `make bench BENCH=costs` measures them, and
`python -m bench.simulate --costs FILE` takes them from the JSON file that it writes.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import sqlalchemy as sa
from pydantic import SecretStr

from app.db import claims, durations, jobs, outcomes, queue, settling, submissions
from app.db.claims import Lease
from app.db.engine import Connection, Database
from app.db.tables import jobs as jobs_table
from app.domain.ids import new_id
from app.domain.job import Job, Submission
from app.domain.pacing import seconds_to_next_poll
from app.domain.states import JobState
from app.upstream.client import UpstreamClient
from bench import databases, seed, servers
from bench.figures import Figure
from bench.plan import Plan
from bench.spent import IN_FLIGHT

T = TypeVar("T")
BATCH = 100
LOOKS = 10
POLLS = 500
POLLERS = 32
"""So many a worker asks after at once."""
PENDING = b'{"id": "some-generation", "status": "generating"}'
VIDEO: dict[str, Any] = {"key": "videos/some.mp4", "poster_key": None, "size_bytes": 1_400_000, "duration_seconds": 5.0}


@dataclass(slots=True)
class Spent:
    """What one kind of transaction took: the whole of it, our processor time, the server's; and its statements."""

    wall_ms: list[float] = field(default_factory=list)
    own_ms: list[float] = field(default_factory=list)
    server_ms: list[float] = field(default_factory=list)
    statements: list[float] = field(default_factory=list)


def measure(plan: Plan) -> list[Figure]:
    """Lead batches of jobs from the queue to the end by the very transactions of the workers."""
    with databases.postgres() as server, TemporaryDirectory(prefix="reelay-bench-") as folder:
        url = databases.for_psycopg(server.create_database())
        databases.migrate(url)
        filling = seed.Filling(url)
        filling.make_projects()
        with asyncio.Runner() as runner, _book(url, runner) as book:
            for _ in range(LOOKS * plan.rounds):
                book.run("look at an empty gate", lambda conn: _admit(conn, book.db, places=0))
            filling.add(seed.GENERATING, first=1, last=min(IN_FLIGHT, plan.rows))
            filling.build_indexes([])
            later = sa.func.now() + sa.text("interval '1 day'")
            book.run("", lambda conn: conn.execute(jobs_table.update().values(due_at=later)))
            for _ in range(plan.rounds):
                _lead(book)
            polls = [runner.run(_poll(Path(folder), polls=POLLS)) for _ in range(plan.rounds)]
    return [*_figures(book.spent), Figure(name="poll", unit="ms own", samples=polls)]


def _figures(spent: dict[str, Spent]) -> Iterator[Figure]:
    for name, taken in spent.items():
        yield Figure(
            name=name,
            unit="ms",
            samples=taken.wall_ms,
            note=f"{median(taken.statements):.0f} statements",
        )
        yield Figure(name=f"{name}: statements", unit="", samples=taken.statements)
        yield Figure(name=f"{name}: own", unit="ms", samples=taken.own_ms)
        if taken.server_ms:
            yield Figure(name=f"{name}: server", unit="ms", samples=taken.server_ms)


class Book:
    """Runs transactions on one connection and notes what each kind took."""

    def __init__(self, db: Database, runner: asyncio.Runner) -> None:
        self.db = db
        self.spent: dict[str, Spent] = {}
        self._runner = runner
        self._statements = 0
        sa.event.listen(db.engine, "before_cursor_execute", self._count)
        self._servers = self.run("", lambda conn: _server_pids(conn))

    def _count(self, *given: Any) -> None:
        *_, parameters, _context, is_many = given
        self._statements += len(parameters) if is_many else 1

    def run(self, name: str, work: Callable[[Connection], T]) -> T:
        """Run it as a worker does, its commit included, and note what it took under this name, if there is one."""
        self._statements = 0
        served, own, began = self._served(), time.process_time(), time.perf_counter()
        result = self._runner.run(self.db.write(work))
        wall, own, served = time.perf_counter() - began, time.process_time() - own, self._served() - served
        if name:
            spent = self.spent.setdefault(name, Spent())
            spent.wall_ms.append(1000 * wall)
            spent.own_ms.append(1000 * own)
            spent.statements.append(self._statements)
            if served:
                spent.server_ms.append(1000 * served)
        return result

    def _served(self) -> float:
        """Return the seconds of processor time that the server took for us; 0 where it is on another machine."""
        pids = getattr(self, "_servers", ())
        paths = [Path(f"/proc/{pid}/schedstat") for pid in pids]
        return sum(int(path.read_text("ascii").split()[0]) for path in paths if path.exists()) / 1e9


def _server_pids(conn: Connection) -> list[int]:
    if conn.dialect.name != "postgresql":
        return []
    found = sa.text("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = :type")
    return list(conn.execute(found, {"type": "client backend"}).scalars())


@contextmanager
def _book(url: str, runner: asyncio.Runner) -> Iterator[Book]:
    db = Database(url, pool_size=1)
    try:
        yield Book(db, runner)
    finally:
        db.close()


def _lead(book: Book) -> None:
    """Lead one batch of jobs through its whole life."""
    for number in range(BATCH):
        book.run("create", lambda conn, number=number: _create(conn, book.db, number))  # type: ignore[misc]
    for _ in range(LOOKS):
        book.run("look at the gate in vain", lambda conn: _admit(conn, book.db, places=0))
    admitted = book.run("admit 100", lambda conn: _admit(conn, book.db, places=2 * IN_FLIGHT))
    assert len(admitted) == BATCH, f"{len(admitted)} admitted"
    for job, submission in admitted:
        _buy(book, job, submission)
    due = book.run("claim 100 polls", lambda conn: _claim_polls(conn, book.db))
    assert len(due) == BATCH, f"{len(due)} due"
    for _ in range(LOOKS):
        book.run("claim polls in vain", lambda conn: _claim_polls(conn, book.db))
    for job in due:
        book.run("settle a finished one", lambda conn, job=job: _complete(conn, book.db, job))  # type: ignore[misc]
    for _ in due:
        [job] = book.run("claim 1 save", lambda conn: _claim_saves(conn, book.db))
        book.run("settle a saved one", lambda conn, job=job: _saved(conn, book.db, job))  # type: ignore[misc]
    for _ in range(LOOKS):
        book.run("claim saves in vain", lambda conn: _claim_saves(conn, book.db))


def _create(conn: Connection, db: Database, number: int) -> None:
    now = db.now(conn)
    job = Job(
        id=new_id("job"),
        project_id=f"proj_{number % seed.PROJECTS}",
        model="veo2/image-to-video",
        input={"prompt": "The sailboat drifts on.", "image_url": "https://pictures.example/boat.jpg", "duration": 5},
        metadata={"order": "A-17"},
        upstream_path="/v2/video/generations",
        estimated_micros=2_500_000,
        estimate_basis="listed",
        reserved_micros=2_500_000,
        due_at=now,
        created_at=now,
    )
    queue.arrival(conn, jobs.insert(conn, job))


def _admit(conn: Connection, db: Database, *, places: int) -> list[tuple[Job, Submission]]:
    now = db.now(conn)
    lease = Lease("bench", now + timedelta(minutes=1))
    return claims.admit(conn, now=now, max_in_flight=places, lease=lease, worker="bench", deployment="bench")


def _buy(book: Book, job: Job, submission: Submission) -> None:
    """The three transactions of a submission: what leaves, what was answered, where the job goes."""

    def mark(conn: Connection) -> None:
        now = book.db.now(conn)
        ends = now + timedelta(minutes=1)
        assert submissions.mark_sending(conn, job, submission, now=now, lease_expires_at=ends)

    def keep(conn: Connection) -> None:
        now, id_ = book.db.now(conn), f"gen-{job.id}"
        submissions.record_accepted(conn, submission.id, now=now, generation_id=id_, inference_id=id_, credits=None)

    def settle(conn: Connection) -> None:
        moved = settling.settle(conn, job.id, now=book.db.now(conn), lease_token=job.lease_token)
        assert moved is not None and moved.state is JobState.GENERATING

    book.run("mark as sending", mark)
    book.run("keep the answer", keep)
    book.run("settle a bought one", settle)


def _claim_polls(conn: Connection, db: Database) -> list[Job]:
    """As the poller's `_claim`, but for what it tells its crew."""
    now = db.now(conn)
    due = claims.due_polls(conn, now=now, limit=BATCH)
    if due:
        learned = durations.read_all(conn)
        pauses = {job.id: seconds_to_next_poll(0.0, learned.of(job.model, job.input)) for job in due}
        claims.book_polls(conn, {id_: now + timedelta(seconds=60 + pause) for id_, pause in pauses.items()})
    return due


def _complete(conn: Connection, db: Database, job: Job) -> None:
    url = "https://videos.example/some.mp4"
    assert outcomes.completed(conn, job, url=url, credits_used=1_000_000, now=db.now(conn)) is not None


def _claim_saves(conn: Connection, db: Database) -> list[Job]:
    now = db.now(conn)
    return claims.due_saves(conn, now=now, lease=Lease("bench", now + timedelta(minutes=1)), limit=1)


def _saved(conn: Connection, db: Database, job: Job) -> None:
    assert outcomes.saved(conn, job, video=VIDEO, now=db.now(conn)) is not None


async def _poll(folder: Path, *, polls: int) -> float:
    """Return the milliseconds of our processor time that one poll takes, asked of a bare server beside us."""
    with servers.floor(folder, payload=PENDING) as base:
        async with UpstreamClient(base, api_key=SecretStr("not-a-key-of-anybody")) as upstream:
            slots = asyncio.Semaphore(POLLERS)

            async def ask() -> None:
                async with slots:
                    await upstream.fetch(path="/v1/jobs/some-generation", generation_id="some-generation")

            await asyncio.gather(*(ask() for _ in range(POLLERS)))
            began = time.process_time()
            await asyncio.gather(*(ask() for _ in range(polls)))
            return 1000 * (time.process_time() - began) / polls
