"""reelay restore: tell a service that its database came from a backup, or that all is known again."""

from datetime import timedelta
from typing import Annotated

import typer

from app.cli.access import transaction
from app.cli.terminal import moment_of
from app.db import acts, restoring
from app.domain.errors import SettingsError
from app.settings import Settings


def register(app: typer.Typer, *, panel: str) -> None:
    """Hang the command onto the root."""
    app.command("restore", rich_help_panel=panel)(restore_command)


def restore_command(
    *,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="When the backup was made, such as 2026-11-25T09:30:00Z.")
    ] = None,
    release: Annotated[bool, typer.Option("--release", help="Let the parked jobs be bought now.")] = False,
) -> None:
    """Park the jobs of a restored database until the upstream's log has told what was bought since the backup.

    Workers notice a restored database by themselves where the storage kept their marks; this does it by hand.
    """
    if (since is None) != release:
        raise SettingsError("Say --since TIME, or --release.")
    settings = Settings.load()
    window = timedelta(seconds=settings.reconcile_window_seconds)
    with transaction() as (conn, now):
        if since is None:
            freed = restoring.unpark(conn)
            acts.note(conn, "jobs.released", target="queue", now=now, data={"jobs": freed})
            typer.echo(f"Released {freed} jobs.")
            return
        began = moment_of(since)
        if began > now:
            raise SettingsError(f"--since {since!r} is in the future.")
        parked = restoring.park(conn, since=began, until=now + window)
        acts.note(conn, "jobs.parked", target="queue", now=now, data={"jobs": parked, "since": since})
    typer.echo(f"Parked {parked} jobs until {(now + window).isoformat(timespec='seconds')}, or until --release.")
