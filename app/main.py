"""The composition root: from settings to a running service."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
import uvicorn
from uvicorn import Config

from app import back_room, metrics, tracing
from app.api.callers import Desk, KeyRing
from app.api.connection import BoundedConnection
from app.api.deps import House
from app.api.routes import SIDE_DOORS, build
from app.catalogue import catalogue
from app.db import deployment, foreign, schema, serving_lock
from app.db.deployment import Mode
from app.db.engine import Database
from app.db.listen import listen
from app.domain.errors import SettingsError, StorageFailed
from app.domain.signing import Signer
from app.media.store import Store
from app.settings import Settings, open_database
from app.upstream.client import UpstreamClient
from app.workers.prices import PriceKeeper

log = structlog.get_logger()
FIRST_PRICES_SECONDS = 3.0
SERVING: dict[str, Any] = {
    "http": BoundedConnection,
    "timeout_graceful_shutdown": 4,
    "timeout_keep_alive": 30,
    "server_header": False,
    "log_config": None,
    "access_log": False,
}


@dataclass(frozen=True, slots=True)
class Role:
    """What this process does. Several processes need Postgres."""

    mode: Mode = "real"
    api: bool = True
    workers: bool = True
    public_url: str = "http://127.0.0.1:8000"


def prepare_database(db: Database, *, mode: Mode) -> str:
    """Bring a SQLite schema up to date, refuse an old Postgres one, and return the deployment id."""
    with db.transaction() as conn:
        schema.make_ready(conn)
        try:
            return deployment.stamp(conn, mode=mode, now=db.now(conn))
        except deployment.ModeMismatch as mismatch:
            raise SettingsError(str(mismatch)) from None


@asynccontextmanager
async def opened(settings: Settings, role: Role) -> AsyncIterator[House]:
    """Open everything, run the workers if this process has them, and close it all in order.

    Raises SettingsError, one line, for whatever an operator can mend.
    """
    async with AsyncExitStack() as stack:
        tracing.start()
        stack.push_async_callback(tracing.stop)
        db = open_database(settings)
        stack.callback(db.close)
        db.time_read, db.time_write = metrics.READ_SECONDS.observe, metrics.WRITE_SECONDS.observe
        if db.is_sqlite:
            _claim_sqlite(stack, db, role)
        deployment_id = await asyncio.to_thread(prepare_database, db, mode=role.mode)
        store = _store(settings)
        house = await _house(settings, role, db=db, store=store, keys=KeyRing(desk=_desk(stack, settings)))
        listening = foreign.watch(db) if db.is_sqlite else listen(settings.database_listen_url or db.url, db)
        await stack.enter_async_context(_running(listening))
        if role.workers:
            upstream = await stack.enter_async_context(back_room.upstream(settings))
            duties = back_room.duties(
                settings,
                db=db,
                store=store,
                upstream=upstream,
                deployment_id=deployment_id,
                public_url=house.public_url,
            )
            await _first_prices(db, upstream)
            await stack.enter_async_context(
                back_room.working(duties, db=db, grace_seconds=settings.submit_timeout_seconds)
            )
        yield house


def _desk(stack: AsyncExitStack, settings: Settings) -> Desk | None:
    """Return who checks the access tokens of the identity provider, if the settings name one."""
    terms = settings.sign_in
    if terms is None:
        return None
    # Only now: what verifies signatures takes long to load.
    from app.api.sign_in import SignInDesk  # noqa: PLC0415
    from app.outbound.provider_keys import ProviderKeys  # noqa: PLC0415

    keys = ProviderKeys(issuer=terms.issuer, jwks_url=terms.jwks_url)
    stack.push_async_callback(keys.close)
    return SignInDesk(terms, keys)


async def _house(settings: Settings, role: Role, *, db: Database, store: Store, keys: KeyRing) -> House:
    """Return what the endpoints need, made from the settings."""
    return House(
        keys=keys,
        db=db,
        store=store,
        catalogue=catalogue.load(),
        signer=Signer(settings.secret_for_signing(), settings.previous_secret_for_signing()),
        guard=back_room.guard_of(settings.trusted_by_operator),
        cors_origins=settings.allowed_origins,
        public_url=settings.public_url or role.public_url,
        retention=settings.retention,
        file_retention=timedelta(days=settings.upload_retention_days),
        mode=role.mode,
        own_prices=_own_prices(settings),
        default_reserve_micros=settings.default_reserve_micros,
        max_in_flight=settings.upstream_max_in_flight,
        max_image_bytes=settings.max_upload_bytes,
        spool=settings.spool_dir,
        data_dir=settings.data_dir,
        metrics_token=settings.token_for_metrics(),
        allow_unknown_models=settings.allow_unknown_models,
        content_origin=await _content_origin(store) if settings.content_redirect else None,
        content_accel=settings.content_accel,
    )


def _own_prices(settings: Settings) -> dict[str, Any]:
    """Return the operator's prices; one for a model that nobody can order is most likely a slip of the pen."""
    served = catalogue.load().models.keys()
    for name in sorted(settings.own_prices.keys() - served):
        log.warning("price_of_unknown_model", model=name)
    return settings.own_prices


def _store(settings: Settings) -> Store:
    try:
        return Store.open(settings.media_url)
    except (ValueError, OSError, StorageFailed) as error:
        raise SettingsError(f"REELAY_STORAGE_URL: {error}") from None


async def _content_origin(store: Store) -> str | None:
    """Return where the store's own links lead; one that can't make any ends the start, not a download."""
    try:
        return await store.link_origin()
    except StorageFailed as error:
        raise SettingsError(f"REELAY_CONTENT_REDIRECT: {error}") from None


async def _first_prices(db: Database, upstream: UpstreamClient) -> None:
    """Know the prices before the first job, so that it has an estimate; without them for now if that takes long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(FIRST_PRICES_SECONDS):
            await PriceKeeper(db, upstream).run_once()


def _claim_sqlite(stack: AsyncExitStack, db: Database, role: Role) -> None:
    if not (role.api and role.workers):
        raise SettingsError("Separate API and worker processes need Postgres: set REELAY_DATABASE_URL=postgresql://…")
    try:
        stack.enter_context(serving_lock.held(db.sqlite_path))
    except serving_lock.AlreadyServed as error:
        raise SettingsError(str(error)) from None


async def serve(settings: Settings, role: Role, *, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT: first the connections end, then the workers, then the house closes."""
    async with opened(settings, role) as house:
        server = Server(
            Config(build(house), **SERVING | _believing(settings.trusted_proxies)),
            ready=ready,
        )

        def stop() -> None:
            house.close_door()
            server.should_exit = True

        with _told_by_signals(stop):
            await server.serve(sockets=[listener])


def _believing(proxies: str) -> dict[str, Any]:
    """Whose X-Forwarded-For the server believes: nobody's unless the operator says so, whatever uvicorn's default."""
    return {"proxy_headers": bool(proxies), "forwarded_allow_ips": proxies}


async def work(
    settings: Settings, role: Role, *, listener: socket.socket | None = None, ready: Callable[[], None]
) -> None:
    """Run the workers alone until SIGTERM or SIGINT; with a listener, answer there to scrapes and health checks."""
    async with opened(settings, role) as house:
        stop = asyncio.Event()
        with _told_by_signals(stop.set):
            if listener is None:
                ready()
                await stop.wait()
                return
            server = Server(Config(build(house, doors=SIDE_DOORS), **SERVING), ready=ready)
            async with _running(server.serve(sockets=[listener])):
                await stop.wait()


class Server(uvicorn.Server):
    """uvicorn, but for signals: its own handlers would end the process before the workers have settled."""

    def __init__(self, config: Config, *, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def _told_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
