"""reelay jobs resolve: an operator's word about a job that may have been bought."""

from typing import Annotated, Any

import typer
from rich.text import Text

from app.cli import service, terminal
from app.cli.jobs import Id
from app.domain.errors import SettingsError


def resolve_command(
    job_id: Id,
    *,
    attach: Annotated[
        str | None,
        typer.Option(metavar="GENERATION", help="It was bought: this generation of the upstream."),
    ] = None,
    not_created: Annotated[bool, typer.Option("--not-created", help="Nothing was bought: queue it again.")] = False,
    give_up: Annotated[bool, typer.Option("--give-up", help="Fail it, charged as estimated.")] = False,
    as_json: terminal.AsJson = False,
) -> None:
    """Decide about an unconfirmed job. Needs a key with the scope admin.

    A generation is first checked against the upstream and its log.
    """
    if [attach is not None, not_created, give_up].count(True) != 1:
        raise SettingsError("Say one of --attach GENERATION, --not-created and --give-up.")
    wish: dict[str, Any] = {"action": "not_created" if not_created else "give_up"}
    if attach is not None:
        wish = {"action": "attach", "generation_id": attach}
    job = service.connect().change(f"/v1/admin{service.job_path(job_id).removeprefix('/v1')}/resolve", wish)
    if as_json:
        terminal.show_json(job)
        return
    terminal.show(Text.assemble(f"{job['id']}  ", terminal.status(job["status"]), f"  {job['state']}"))
    if wish["action"] == "attach" and job["state"] in ("unconfirmed", "abandoned"):
        terminal.say("The generation could not be checked yet. `reelay jobs show` tells once it is.")
