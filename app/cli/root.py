"""Where the command begins: what is loaded for it, and how every expected error ends as one line on stderr."""

import sys

import typer

from app.cli import client, loading
from app.cli.exits import Away, Exit, Left
from app.domain.errors import ReelayError, SettingsError


def new_root() -> typer.Typer:
    """Return the command without its subcommands."""
    return typer.Typer(
        name="reelay",
        help="Reelay: a self-hosted relay in front of a paid video API.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )


def main() -> None:
    """Run the command; docs/cli.md lists the exit codes."""
    try:
        command = _wanted(sys.argv[1:])
        loading.end()
        command()
    except SettingsError as error:
        sys.exit(_complaint(str(error), status=Exit.USAGE))
    except ReelayError as error:
        sys.exit(_complaint(error.message, status=Exit.FAILED))
    except Away as error:
        sys.exit(_complaint(str(error), status=Exit.AWAY))
    except Left:
        sys.exit(Exit.INTERRUPTED)


def _wanted(words: list[str]) -> typer.Typer:
    """Return the whole command, or the client's part of it alone: the service takes half a second to load."""
    if words and words[0] in client.COMMANDS:
        root = new_root()
        client.register(root)
        return root
    from app.cli.command import app  # noqa: PLC0415  # see above

    return app


def _complaint(message: str, *, status: Exit) -> int:
    for line in message.splitlines():
        typer.echo(f"reelay: {line}", err=True)
    return status
