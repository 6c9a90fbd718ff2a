"""The `reelay` command."""

from app.cli import loading


def main() -> None:
    """Run the command; docs/cli.md lists the exit codes."""
    loading.begin()
    from app.cli import root  # noqa: PLC0415  # most of what is loaded begins here

    root.main()
