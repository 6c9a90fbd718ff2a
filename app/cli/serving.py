"""reelay serve, worker, migrate, sandbox: the commands that run."""

import asyncio
import ipaddress
import json
import socket
import sys
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from pydantic import SecretStr

from app import telemetry
from app.cli import development, loading
from app.cli.child_sandbox import SANDBOX_KEY, SANDBOX_MEDIAN_SECONDS, ChildSandbox
from app.db import deployment, schema
from app.domain.errors import SettingsError, Unavailable
from app.settings import Settings, open_database

LOOP_FACTORY: Callable[[], asyncio.AbstractEventLoop] | None = None
if sys.platform != "win32":
    import uvloop

    LOOP_FACTORY = uvloop.new_event_loop

SILENCE = timedelta(minutes=2)
"""A worker speaks every few seconds; a storage that hangs can hold it up for a while."""

Host = Annotated[str, typer.Option(help="The address to listen on; 127.0.0.1 is this machine only.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 chooses a free one.")]
Speed = Annotated[float, typer.Option(help="How many times faster than life the sandbox generates.")]


def register(app: typer.Typer, *, panel: str) -> None:
    """Hang the commands onto the root."""
    app.command("serve", rich_help_panel=panel)(serve_command)
    app.command("worker", rich_help_panel=panel)(worker_command)
    app.command("migrate", rich_help_panel=panel)(migrate_command)
    passing_on = {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command("sandbox", add_help_option=False, context_settings=passing_on, rich_help_panel=panel)(sandbox_command)


def serve_command(
    *,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Simulate the upstream: real MP4s, no money.")] = False,
    sandbox_speed: Speed = 10.0,
    worker: Annotated[bool, typer.Option(help="Also run the workers; several processes need Postgres.")] = True,
) -> None:
    """Serve the API, and run the workers in the same process."""
    loading.begin()
    settings = Settings.load()
    configure_logs(settings)
    listener = _bound(host, port)
    port = listener.getsockname()[1]
    base = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"  # noqa: S104  # compared, not bound
    if sandbox:
        _refuse_key(settings)
    with ChildSandbox(settings.data_dir / "sandbox", speed=sandbox_speed) if sandbox else nullcontext() as upstream:
        # Short commands start without the whole service; it is loaded while the sandbox starts.
        from app.main import Role, serve  # noqa: PLC0415

        if upstream is not None:
            settings = _with_sandbox(settings, upstream.url())
        role = Role(mode="sandbox" if sandbox else "real", workers=worker, public_url=base)

        def ready() -> None:
            loading.end()
            development_key = development.key_for(settings, allowed=sandbox and _is_loopback(host))
            if sandbox:
                development.guess_durations(settings, median_seconds=SANDBOX_MEDIAN_SECONDS / sandbox_speed)
            else:
                _say_what_costs(settings)
            typer.echo(f"Reelay listens on {base}" + (" (sandbox: simulated videos, no money)" if sandbox else ""))
            if development_key is not None:
                typer.echo(f"Development key: {development_key}")

        run(serve(settings, role, listener=listener, ready=ready))
    typer.echo("Reelay has stopped.")


def worker_command(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Only tell whether this host's worker is silent: exit status 1 if so.")
    ] = False,
) -> None:
    """Run the workers alone; any number of them share one Postgres."""
    settings = Settings.load()
    if check:
        check_worker(settings)
        return
    loading.begin()
    from app.main import Role, work  # noqa: PLC0415  # as above

    configure_logs(settings)
    address = settings.metrics_address
    listener = None if address is None else _bound(*address, chosen_by="REELAY_METRICS_LISTEN")

    def ready() -> None:
        loading.end()
        _say_what_costs(settings)
        if listener is not None:
            typer.echo("Metrics at http://{}:{}/metrics".format(*listener.getsockname()[:2]))
        typer.echo("Reelay works.")

    run(work(settings, Role(api=False), listener=listener, ready=ready))
    typer.echo("Reelay has stopped.")


def check_worker(settings: Settings) -> None:
    """Exit 1 if this host's worker is silent. While the database is away nobody can know, and ending the worker,
    which may hold a paid answer for it, would mend nothing: that is no fault of the worker."""
    db = open_database(settings)
    try:
        with db.transaction() as conn:
            beat_at, now = deployment.last_beat(conn, host=socket.gethostname()), db.now(conn)
    except Unavailable as error:
        typer.echo(f"Nothing is known about the worker. {error.message}")
        return
    finally:
        db.close()
    if beat_at is None or now - beat_at > SILENCE:
        typer.echo("This host's worker is silent." if beat_at is None else f"The worker was last heard at {beat_at}.")
        raise typer.Exit(1)
    typer.echo("The worker lives.")


def sandbox_command(context: typer.Context) -> None:
    """Run the simulated upstream alone; --help lists its options."""
    from app.sandbox import __main__ as sandbox_program  # noqa: PLC0415  # brings PyAV, which nobody else waits for

    sandbox_program.main(context.args)


def migrate_command(
    *,
    to: Annotated[str, typer.Option(help="The revision to reach; `head` is the newest.")] = "head",
    down: Annotated[bool, typer.Option("--down", help="Go down to --to instead of up.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only tell whether the schema fits this build: exit status 1 if not.")
    ] = False,
) -> None:
    """Bring the database's schema up to date."""
    db = open_database(Settings.load())
    try:
        with db.transaction() as conn:
            if to not in ("head", "base") and to not in schema.revisions():
                raise SettingsError(f"--to {to!r}: this build knows {', '.join(schema.revisions())}.")
            if check:
                if found := schema.differences(conn):
                    typer.echo(json.dumps([str(difference) for difference in found]))
                    raise typer.Exit(1)
                typer.echo("The schema fits this build.")
                return
            if down:
                schema.downgrade(conn, to=to)
            else:
                schema.upgrade(conn, to=to)
            typer.echo(f"The schema is at {schema.current(conn) or 'nothing'}.")
    finally:
        db.close()


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run the event loop on uvloop where there is one."""
    with asyncio.Runner(loop_factory=LOOP_FACTORY) as runner:
        runner.run(main)


def configure_logs(settings: Settings) -> None:
    """Set the logs up so that the settings' secrets can't appear in them."""
    telemetry.configure(level=settings.log_level, style=settings.log_format, literals=settings.literals())


def _refuse_key(settings: Settings) -> None:
    if settings.upstream_api_key is not None:
        raise SettingsError(
            "--sandbox was given and REELAY_UPSTREAM_API_KEY (or AIML_API_KEY) is set. "
            "Unset the key to simulate, or leave --sandbox out to spend money."
        )


def _say_what_costs(settings: Settings) -> None:
    parts = urlsplit(settings.upstream_url)
    typer.echo(f"Real upstream {parts.scheme}://{parts.netloc.rpartition('@')[2]}: jobs cost money.")


def _with_sandbox(settings: Settings, url: str) -> Settings:
    return settings.model_copy(
        update={
            "upstream_url": url,
            "upstream_api_key": SecretStr(SANDBOX_KEY),
            "poll_interval_seconds": settings.poll_interval_seconds or 0.5,
        }
    )


def _bound(host: str, port: int, *, chosen_by: str = "--port") -> socket.socket:
    """Return a listening socket. Its protocol is named, because asyncio sets TCP_NODELAY only where it is."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
        return listener
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"{host}:{port} cannot be listened on ({error.strerror}). Choose another with {chosen_by}."
        ) from None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
