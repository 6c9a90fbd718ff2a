"""The commands that speak to a service over HTTP. They load nothing of the service itself, so they start quickly."""

import typer

from app.cli import generate, models, usage
from app.cli.jobs import jobs

COMMANDS = frozenset({"generate", "jobs", "models", "usage"})
PANEL = "Make videos (with REELAY_URL and REELAY_KEY)"


def register(app: typer.Typer) -> None:
    """Hang the commands onto the root."""
    app.command("generate", rich_help_panel=PANEL)(generate.generate_command)
    app.add_typer(jobs, name="jobs", rich_help_panel=PANEL)
    app.command("models", rich_help_panel=PANEL)(models.models_command)
    app.command("usage", rich_help_panel=PANEL)(usage.usage_command)
