"""What each transaction in a job's life costs on Postgres, among 10,000 jobs in flight: the simulation counts in these.

One job after the other, so that nobody waits for anybody. `make bench BENCH=costs` measures them, and
`make simulate SIMULATE_ARGS="--costs FILE"` takes them from the JSON file that it writes.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import sqlalchemy as sa
from pydantic import SecretStr

from app.db import claims, durations, jobs, outcomes, queue, settling, submissions
from app.db.claims import Lease
from app.db.engine import Connection, Database, notify
from app.db.signals import job_topic
from app.db.tables import jobs as jobs_table
from app.db.together import LARGEST_BATCH
from app.domain.job import Job, Submission
from app.domain.states import JobState
from app.upstream.client import UpstreamClient
from app.upstream.wire import Generation
from app.workers.poll import BATCH, Poller
from bench import databases, insert, seed, servers
from bench.figures import Figure
from bench.plan import Plan
from bench.spent import ADMITTED, IN_FLIGHT, POLLERS

T = TypeVar("T")
LED = 2 * BATCH
"""So many jobs are led from the queue to the end in a round."""
LOOKS = 10
POLLS = 500
NOBODY = "http://127.0.0.1:9"
PENDING = b'{"id": "some-generation", "status": "generating"}'
VIDEO: dict[str, Any] = {"key": "videos/some.mp4", "poster_key": None, "size_bytes": 1_400_000, "duration_seconds": 5.0}
VIDEO_URL = "https://videos.example/some.mp4"
CREDITS = 1_000_000


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
        yield Figure(name=name, unit="ms", samples=taken.wall_ms)
        parts = (("statements", "", taken.statements), ("own", "ms", taken.own_ms), ("server", "ms", taken.server_ms))
        for part, unit, samples in parts:
            if samples:
                yield Figure(name=f"{name}: {part}", unit=unit, samples=samples)


class Book:
    """Runs transactions on one connection and notes what each kind took."""

    def __init__(self, db: Database, runner: asyncio.Runner) -> None:
        self.db = db
        self.spent: dict[str, Spent] = {}
        self._runner = runner
        self._statements = 0
        sa.event.listen(db.engine, "before_cursor_execute", self._count)
        self._servers = self.run("", _server_pids)

    def _count(self, *given: Any) -> None:
        *_, parameters, _context, is_many = given
        self._statements += len(parameters) if is_many else 1

    def run(self, name: str, work: Callable[[Connection], T]) -> T:
        """Run it as a worker does, its commit included, and note what it took under this name, if there is one."""
        return self.wait(name, self.db.write(work))

    def wait(self, name: str, work: Coroutine[Any, Any, T]) -> T:
        """Wait for a transaction that opens itself, and note what it took."""
        self._statements = 0
        served, own, began = self._served(), time.process_time(), time.perf_counter()
        result = self._runner.run(work)
        wall, own, served = time.perf_counter() - began, time.process_time() - own, self._served() - served
        if name:
            spent = self.spent.setdefault(name, Spent())
            spent.wall_ms.append(1000 * wall)
            spent.own_ms.append(1000 * own)
            spent.statements.append(self._statements)
            if served:
                spent.server_ms.append(1000 * served)
        return result

    def commit(self, name: str, work: Callable[[Connection], object]) -> None:
        """Do this and note how long its commit alone takes."""
        with self.db.engine.connect() as conn:
            work(conn)
            began = time.perf_counter()
            conn.commit()
            self.spent.setdefault(name, Spent()).wall_ms.append(1000 * (time.perf_counter() - began))

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
    """Lead some jobs through their whole life."""
    for _ in range(LOOKS):
        book.run("look at a full house", lambda conn: _admit(conn, book.db, places=0))
    prepared = []
    # One of the only project that waits, one of all projects, and then the most that are left of these.
    for name, created, room in (("admit 1, alone", 1, 1), ("admit 1", LED - 1, 1), (f"admit {ADMITTED}", 0, ADMITTED)):
        for number in range(created):
            book.run("create", partial(_create, db=book.db, number=number))
        places = book.run("", claims.places_taken) + room
        admitted = book.run(name, partial(_admit, db=book.db, places=places))
        assert len(admitted) == room, f"{len(admitted)} admitted"
        prepared += admitted
    prepared += book.run("", lambda conn: _admit(conn, book.db, places=2 * IN_FLIGHT))
    assert len(prepared) == LED, f"{len(prepared)} prepared"
    bought = [_buy(book, job, submission) for job, submission in prepared]
    poller = Poller(book.db, UpstreamClient(NOBODY, api_key=SecretStr("not-a-key-of-anybody")))
    for _ in range(LED // BATCH):
        _, pause = book.run(f"claim {BATCH} polls", lambda conn: poller._claim(conn, BATCH))
        assert pause == 0, "not as many were due"
    for _ in range(LOOKS):
        _, pause = book.run("claim polls in vain", lambda conn: poller._claim(conn, BATCH))
        assert pause > 0, "some were still due"
    _end(book, poller, bought)


def _end(book: Book, poller: Poller, bought: list[Job]) -> None:
    """Settle the finished ones, a half by themselves and the others together, and save them all."""
    generation = Generation(status="completed", word="completed", video_url=VIDEO_URL, credits=CREDITS)
    alone, others = bought[: LED // 2], bought[LED // 2 :]
    for job in alone:
        book.wait("settle 1 finished", poller._settle_all([(job, generation)]))
    for first in range(0, len(others), LARGEST_BATCH):
        together = [(job, generation) for job in others[first : first + LARGEST_BATCH]]
        book.wait(f"settle {LARGEST_BATCH} finished", poller._settle_all(together))
    learned = [(job.model, job.input, 45.0) for job in others[:LARGEST_BATCH]]
    for _ in range(LOOKS):
        book.run("learn", lambda conn: durations.observe_all(conn, learned))
        book.commit("commit what is told", lambda conn: _tell(conn, others[0]))
    for _ in bought:
        [saving] = book.run("claim 1 save", lambda conn: _claim_saves(conn, book.db))
        book.run("settle a saved one", partial(_saved, db=book.db, job=saving))
    for _ in range(LOOKS):
        book.run("claim saves in vain", lambda conn: _claim_saves(conn, book.db))


def _tell(conn: Connection, job: Job) -> None:
    """Write a little and tell of it, as each change of a job does."""
    conn.execute(jobs_table.update().where(jobs_table.c.id == job.id).values(polled_at=sa.func.now()))
    notify(conn, {job_topic(job.id)})


def _create(conn: Connection, db: Database, number: int) -> None:
    now = db.now(conn)
    job = insert.queued(f"proj_{number % seed.PROJECTS}", now=now)
    queue.arrivals(conn, [jobs.insert(conn, job)])


def _admit(conn: Connection, db: Database, *, places: int) -> list[tuple[Job, Submission]]:
    """Admit as the submitter does, where the upstream takes so many at once."""
    now = db.now(conn)
    lease = Lease("bench", now + timedelta(minutes=1))
    return claims.admit(conn, now=now, max_in_flight=places, lease=lease, worker="bench", deployment="bench")


def _buy(book: Book, job: Job, submission: Submission) -> Job:
    """The three transactions of a submission: what leaves, what was answered, where the job goes."""

    def mark(conn: Connection) -> None:
        now = book.db.now(conn)
        ends = now + timedelta(minutes=1)
        assert submissions.mark_sending(conn, job, submission, now=now, lease_expires_at=ends)

    def keep(conn: Connection) -> None:
        now, id_ = book.db.now(conn), f"gen-{job.id}"
        submissions.record_accepted(conn, submission.id, now=now, generation_id=id_, inference_id=id_, credits=None)

    def settle(conn: Connection) -> Job:
        moved = settling.settle(conn, job.id, now=book.db.now(conn), lease_token=job.lease_token)
        assert moved is not None and moved.state is JobState.GENERATING
        return moved

    book.run("mark as sending", mark)
    book.run("keep the answer", keep)
    return book.run("settle a bought one", settle)


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
