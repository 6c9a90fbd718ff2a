"""The command's root: every subcommand hangs here, and every expected error ends as one line on stderr."""

import sys

import typer

from app.cli import access, demo, doctor, serving
from app.domain.errors import ReelayError
from app.settings import SettingsError

app = typer.Typer(
    name="reelay",
    help="Reelay: a self-hosted relay in front of a paid video API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
serving.register(app)
app.add_typer(access.projects, name="projects")
app.add_typer(access.keys, name="keys")
demo.register(app)
doctor.register(app)


def main() -> None:
    """Run the command; exit 2 for what the operator can mend, 1 for what failed."""
    try:
        app()
    except SettingsError as error:
        sys.exit(_complaint(str(error), status=2))
    except ReelayError as error:
        sys.exit(_complaint(error.message, status=1))


def _complaint(message: str, *, status: int) -> int:
    for line in message.splitlines():
        print(f"reelay: {line}", file=sys.stderr)  # noqa: T201  # the command line speaks by printing
    return status
