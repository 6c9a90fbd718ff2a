"""reelay upstream: let nothing be bought for a while. Works on the host, beside a running service."""

from typing import Annotated

import typer

from app.cli.access import transaction
from app.db import acts, gate
from app.domain.actor import NAME_ON_THE_HOST
from app.domain.text import clean

upstream = typer.Typer(help="Pause and resume submissions to the upstream.", no_args_is_help=True)


@upstream.command("pause")
def pause_command(
    *, reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why, for other operators.")] = None
) -> None:
    """Submit nothing until `reelay upstream resume`. Jobs are taken and stay queued; what was bought is finished."""
    said = None if reason is None else clean(reason) or None
    with transaction() as (conn, now):
        is_new = gate.pause(conn, by=NAME_ON_THE_HOST, reason=said, now=now)
        if is_new:
            acts.note(conn, "upstream.paused", target="upstream", now=now, data={"reason": said})
    typer.echo("Paused: nothing more is submitted." if is_new else "It is paused already.")


@upstream.command("resume")
def resume_command() -> None:
    """End the pause and every hold, and submit at full pace."""
    with transaction() as (conn, now):
        gate.resume(conn)
        acts.note(conn, "upstream.resumed", target="upstream", now=now)
    typer.echo("Resumed. Whatever still stands in the way will hold jobs anew.")
