"""The workers of one process, made from the settings: which duties there are, and how they begin and end together."""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import structlog
from pydantic import SecretStr

from app.catalogue import catalogue
from app.db.engine import Database
from app.domain.errors import SettingsError
from app.domain.sealing import Sealer
from app.domain.signing import Signer
from app.media.store import Store
from app.outbound.download import download
from app.outbound.guard import Guard
from app.settings import Settings
from app.upstream.client import FETCH_TIMEOUT_SECONDS, UpstreamClient
from app.workers.audit import Auditor
from app.workers.balance import Accountant
from app.workers.deliver import Deliverer, Sending
from app.workers.leases import Leasing
from app.workers.loop import Duty, run_all
from app.workers.marks import Marks
from app.workers.poll import Poller
from app.workers.prices import PriceKeeper
from app.workers.probe import Prober
from app.workers.reconcile import Reconciler
from app.workers.requote import Requoter
from app.workers.reseal import Resealer
from app.workers.restored import RestoreWatch
from app.workers.save import Download, Saver, clear_spool
from app.workers.submit import Submitter
from app.workers.sweep import Sweeper

log = structlog.get_logger()
DRAIN_SLACK_SECONDS = 5.0
TIDY_SECONDS = 5.0
DOWNLOAD_DEADLINE_SECONDS = 900.0


def upstream(settings: Settings, *, fetch_timeout_seconds: float = FETCH_TIMEOUT_SECONDS) -> UpstreamClient:
    """Return the client of the paid API; raise SettingsError for a key or an address that cannot be used."""
    key = settings.upstream_api_key
    if key is None or not key.get_secret_value().strip():
        raise SettingsError(
            "REELAY_UPSTREAM_API_KEY is missing. Set it, or start with --sandbox to try Reelay without spending."
        )
    try:
        return UpstreamClient(
            settings.upstream_url,
            api_key=SecretStr(key.get_secret_value().strip()),
            submit_timeout_seconds=settings.submit_timeout_seconds,
            fetch_timeout_seconds=fetch_timeout_seconds,
        )
    except ValueError as error:
        raise SettingsError(f"REELAY_UPSTREAM_URL or REELAY_UPSTREAM_API_KEY: {error}.") from None


def duties(
    settings: Settings, *, db: Database, store: Store, upstream: UpstreamClient, deployment_id: str, public_url: str
) -> list[Duty]:
    """Return every duty of one worker process; raise SettingsError for what the operator can mend."""
    clear_spool(settings.spool_dir, older_than_seconds=2 * DOWNLOAD_DEADLINE_SECONDS)
    worker = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
    leasing = Leasing(db, seconds=settings.lease_seconds)
    sending = _sending(settings, public_url=public_url)
    return [
        _submitter(settings, db, upstream, store, leasing=leasing, worker=worker, deployment=deployment_id),
        Prober(db, upstream),
        Reconciler(
            db,
            upstream,
            worker=worker,
            deployment=deployment_id,
            window_seconds=settings.reconcile_window_seconds,
            horizon_seconds=settings.poll_horizon_seconds,
            interval_seconds=settings.reconcile_interval_seconds,
        ),
        Poller(
            db,
            upstream,
            fixed_interval_seconds=settings.poll_interval_seconds,
            horizon_seconds=settings.poll_horizon_seconds,
        ),
        Saver(db, upstream, store, _downloads(settings), leasing=leasing, spool=settings.spool_dir),
        Sweeper(
            db,
            store,
            worker=worker,
            retention=settings.retention,
            lease_seconds=settings.lease_seconds,
            tidy_every_seconds=TIDY_SECONDS,
        ),
        PriceKeeper(db, upstream),
        Accountant(db, upstream),
        Auditor(db, upstream),
        Deliverer(db, sending),
        Resealer(db, sending.sealer),
    ]


def _submitter(
    settings: Settings,
    db: Database,
    upstream: UpstreamClient,
    store: Store,
    *,
    leasing: Leasing,
    worker: str,
    deployment: str,
) -> Submitter:
    marks = Marks(store, deployment=deployment, worker=worker)
    return Submitter(
        db,
        upstream,
        store,
        leasing=leasing,
        marks=marks,
        restore_watch=RestoreWatch(db, marks, window_seconds=settings.reconcile_window_seconds),
        worker=worker,
        deployment=deployment,
        max_in_flight=settings.upstream_max_in_flight,
        requoter=Requoter(db, catalogue=catalogue.load(), own_prices=settings.own_prices),
    )


def _downloads(settings: Settings) -> Download:
    """Return how result URLs are fetched: through the guard, within the operator's limits."""
    guard = guard_of(settings.trusted)
    return partial(
        download,
        guard=guard,
        max_bytes=settings.max_video_bytes,
        deadline_seconds=DOWNLOAD_DEADLINE_SECONDS,
    )


def _sending(settings: Settings, *, public_url: str) -> Sending:
    """Return how events are sent to URLs that callers name."""
    secret, previous = settings.secret_for_signing(), settings.previous_secret_for_signing()
    return Sending(
        guard=guard_of(settings.trusted_by_operator),
        sealer=Sealer(secret, previous),
        signer=Signer(secret, previous),
        public_url=public_url,
        retention=settings.retention,
    )


def guard_of(trusted: frozenset[str]) -> Guard:
    """Return a guard with these exceptions; raise SettingsError over one that can't be read."""
    try:
        return Guard(trusted)
    except ValueError as error:
        raise SettingsError(f"REELAY_TRUSTED_HOSTS: {error}") from None


@asynccontextmanager
async def working(duties: list[Duty], *, db: Database, grace_seconds: float) -> AsyncIterator[None]:
    """Run the workers; at the end let what is under way settle: a paid POST is never cut off."""
    stop = asyncio.Event()
    running = asyncio.create_task(run_all(duties, signals=db.signals, stop=stop))
    try:
        yield
    finally:
        stop.set()
        done, _ = await asyncio.wait({running}, timeout=grace_seconds + DRAIN_SLACK_SECONDS)
        if not done:
            log.error("drain_timed_out", seconds=grace_seconds + DRAIN_SLACK_SECONDS)
            running.cancel()
        with suppress(asyncio.CancelledError):
            await running
