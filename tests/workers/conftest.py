"""A whole back room against the sandbox, with one clock that only the test moves."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from pydantic import SecretStr

from app.db import access, deployment, events, files, jobs
from app.db.engine import Database
from app.db.jobs import Owner
from app.domain.ids import new_id
from app.domain.job import File, Job
from app.media.store import Store
from app.outbound.download import download
from app.outbound.guard import Guard
from app.sandbox.config import SandboxConfig
from app.sandbox.server import running
from app.upstream.client import UpstreamClient
from app.workers.balance import Accountant
from app.workers.leases import Leasing
from app.workers.marks import Marks
from app.workers.poll import Poller
from app.workers.prices import PriceKeeper
from app.workers.probe import Prober
from app.workers.reconcile import Reconciler
from app.workers.requote import Requoter
from app.workers.restored import RestoreWatch
from app.workers.save import Saver
from app.workers.submit import Submitter
from app.workers.sweep import Sweeper
from tests.canary import UPSTREAM_KEY

KEYS = (*SandboxConfig.keys, UPSTREAM_KEY)
T0 = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DEPLOYMENT = "d1"
WINDOW_SECONDS = 1800
"""Some twenty reads of the log; a real window has hundreds."""


class Clock:
    """The time of the database and of the sandbox."""

    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> datetime:
        return self.now

    def timestamp(self) -> float:
        return self.now.timestamp()

    def pass_seconds(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox_options() -> dict[str, Any]:
    """What a test changes about the sandbox."""
    return {}


@pytest.fixture
def upstream_url(tmp_path: Path, clock: Clock, sandbox_options: dict[str, Any]) -> Iterator[str]:
    options = {"render": "tiny", "speed": 1000.0, "seed": 1, "clock": clock.timestamp} | sandbox_options
    with running(SandboxConfig(data_dir=tmp_path / "sandbox", keys=KEYS, **options)) as url:
        yield url


class Room:
    """The workers, and the few things a test does with them."""

    def __init__(self, db: Database, upstream: UpstreamClient, *, clock: Clock, url: str, folder: Path) -> None:
        self.db, self.upstream, self.clock, self.url = db, upstream, clock, url
        self.store = Store.open(str(folder / "media"))
        self.media = folder / "media"
        self.leasing = Leasing(db, seconds=60)
        self.project_id = ""
        trusted = [urlsplit(url).netloc]
        fetch = partial(download, guard=Guard(trusted), max_bytes=10**8, deadline_seconds=20)
        self.marks = Marks(self.store, deployment=DEPLOYMENT, worker="w", clock=clock)
        self.submitter = self.another_submitter()
        self.prober = Prober(db, upstream)
        self.reconciler = self.another_reconciler()
        self.poller = Poller(db, upstream, fixed_interval_seconds=10, empty_patience_seconds=60)
        self.saver = Saver(db, upstream, self.store, fetch, leasing=self.leasing, spool=folder / "spool")
        self.sweeper = Sweeper(db, self.store, worker="w", retention=timedelta(days=7))
        self.prices = PriceKeeper(db, upstream)
        self.accountant = Accountant(db, upstream)

    def another_submitter(self, *, max_in_flight: int = 5, requoter: Requoter | None = None) -> Submitter:
        return Submitter(
            self.db,
            self.upstream,
            self.store,
            leasing=self.leasing,
            marks=self.marks,
            restore_watch=RestoreWatch(self.db, self.marks, window_seconds=WINDOW_SECONDS),
            worker="w",
            deployment=DEPLOYMENT,
            max_in_flight=max_in_flight,
            requoter=requoter,
        )

    def another_reconciler(self, worker: str = "w") -> Reconciler:
        return Reconciler(
            self.db,
            self.upstream,
            worker=worker,
            deployment=DEPLOYMENT,
            window_seconds=WINDOW_SECONDS,
            horizon_seconds=24 * 3600,
            interval_seconds=30,
        )

    async def create(self, prompt: str = "A boat", **given: Any) -> Job:
        values = {
            "id": new_id("job"),
            "project_id": self.project_id,
            "model": "veo2",
            "input": {"prompt": prompt},
            "due_at": self.clock.now,
            "created_at": self.clock.now,
            "upstream_path": "/v2/video/generations",
        }
        job = Job(**values | given)
        return await self.db.write(lambda conn: jobs.insert(conn, job, file_ids=files.references(job.input)))

    async def upload(self, data: bytes, content_type: str) -> str:
        """Store an upload and return its file id."""
        id_ = new_id("file")
        await self.store.put_bytes(f"uploads/{id_}", data, content_type=content_type)
        file = File(
            id=id_,
            project_id=self.project_id,
            subject=None,
            content_type=content_type,
            size_bytes=len(data),
            width=64,
            height=36,
            sha256="0" * 64,
            storage_key=f"uploads/{id_}",
            created_at=self.clock.now,
            expires_at=self.clock.now + timedelta(days=30),
        )
        await self.db.write(lambda conn: files.insert(conn, file))
        return id_

    async def beat(self, *names: str) -> None:
        """Let the named duties run once and finish what they started."""
        for name in names:
            duty = getattr(self, name)
            await duty.run_once()
            if hasattr(duty, "crew"):
                await duty.crew.drain()

    async def submit(self) -> None:
        """Let the submitter buy, and the poller book the first poll."""
        await self.beat("submitter", "poller")

    async def to_the_end(self, *, rounds: int = 12) -> None:
        """Let everybody work while time passes."""
        for _ in range(rounds):
            await self.beat("prober", "submitter", "poller", "saver")
            self.clock.pass_seconds(11)

    async def seen(self, job: Job) -> Job:
        return await self.db.read(lambda conn: jobs.get(conn, job.id, owner=Owner(project_id=self.project_id)))

    async def cancel(self, job: Job) -> Job:
        return await self.db.write(
            lambda conn: jobs.cancel(conn, job.id, owner=Owner(project_id=self.project_id), now=self.clock.now)
        )

    async def timeline(self, job: Job) -> list[str]:
        return [event.type for event in await self.db.read(lambda conn: events.of_job(conn, job.id))]

    def sold(self) -> list[dict[str, Any]]:
        """Return what the sandbox sold: the judge."""
        purchases: list[dict[str, Any]] = httpx2.get(f"{self.url}/_sandbox/ledger").json()["purchases"]
        return purchases


@pytest.fixture
async def room(database: Database, upstream_url: str, clock: Clock, tmp_path: Path) -> AsyncIterator[Room]:
    db = Database(database.url, clock=clock)
    key = SecretStr(UPSTREAM_KEY)
    async with UpstreamClient(upstream_url, api_key=key, submit_timeout_seconds=2, fetch_timeout_seconds=2) as upstream:
        made = Room(db, upstream, clock=clock, url=upstream_url, folder=tmp_path)

        def begin(conn: Any) -> str:
            deployment.stamp(conn, mode="sandbox", now=T0)
            return access.create_project(conn, "film", now=T0).id

        made.project_id = await db.write(begin)
        yield made
        for duty in (made.submitter, made.poller, made.saver):
            await duty.drain()
    db.close()
