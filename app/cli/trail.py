"""reelay audit: who changed what, in order of time."""

from datetime import datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from app.cli import terminal
from app.cli.access import transaction
from app.cli.terminal import moment_of
from app.db import access, trail
from app.db.trail import Deed
from app.domain.actor import NAME_ON_THE_HOST

COLUMNS = ["TIME", "WHAT", "OF", "BY", "SUBJECT", "FROM", "REQUEST"]


def register(app: typer.Typer, *, panel: str) -> None:
    """Hang the command onto the root."""
    app.command("audit", rich_help_panel=panel)(audit_command)


def audit_command(
    *,
    project: Annotated[str | None, typer.Option(metavar="NAME", help="Only what concerns this project.")] = None,
    job: Annotated[str | None, typer.Option(metavar="ID", help="Only what concerns this job, deleted or not.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only what came later, such as 2026-11-25T09:30:00Z.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many: the newest.")] = 100,
    as_json: terminal.AsJson = False,
) -> None:
    """Show who changed what, oldest first. Of the service's own moves only webhooks that it disabled are shown."""
    began = None if since is None else moment_of(since)
    with transaction() as (conn, _):
        project_id = None if project is None else access.project_named(conn, project).id
        found = trail.read(conn, limit=limit, project_id=project_id, job_id=job, since=began)
    if as_json:
        terminal.show_json([_plain(deed) for deed in found])
        return
    terminal.show_table(COLUMNS, [_row(deed) for deed in found], spare=(6, 4))
    if len(found) == limit:
        terminal.say(f"These are the newest {limit}. --limit shows more.")


def _plain(deed: Deed) -> dict[str, Any]:
    return {
        "id": deed.id,
        "at": _told(deed.at),
        "action": deed.action,
        "target": deed.target,
        "project_id": deed.project_id,
        "by": deed.actor,
        "data": deed.data,
    }


def _row(deed: Deed) -> list[str | Text]:
    who = deed.actor
    by = " of ".join(filter(None, (who.get("token_id"), who.get("key_id"))))
    if who.get("on_host"):
        by = NAME_ON_THE_HOST
    elif who.get("by_itself"):
        by = "the service itself"
    rest = [who.get(name, "-") for name in ("subject", "address", "request_id")]
    return [_told(deed.at), deed.action, deed.target, by, *rest]


def _told(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
