"""How the client speaks: results on standard output, everything meant for people alone on standard error."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from app.domain.errors import SettingsError

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
STYLES = {"succeeded": "green", "failed": "red", "canceled": "yellow", "in_progress": "cyan", "queued": "dim"}


def noise() -> Console:
    """Return the console for people."""
    return Console(stderr=True, highlight=False)


def is_interactive() -> bool:
    """Tell whether somebody is there to be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def say(line: str | Text) -> None:
    """Tell people something that is no result."""
    noise().print(line if isinstance(line, Text) else Text(safe(line)), soft_wrap=True)


def show(line: Text) -> None:
    """Print one line of the result."""
    Console(highlight=False).print(line, soft_wrap=True)


def show_json(value: Any, *, plain: Callable[[Any], str] | None = None) -> None:
    """Print the result for machines; `plain` words what JSON has not."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, default=plain)
    sys.stdout.write("\n")


def show_table(
    columns: list[str],
    rows: list[list[str | Text]],
    *,
    right: frozenset[int] = frozenset(),
    spare: tuple[int, ...] = (),
) -> None:
    """Print rows: aligned under a heading on a terminal, separated by tabs and without a heading elsewhere.

    Where a terminal is too narrow for all columns, the `spare` ones are left out, the first of them first.
    """
    if not sys.stdout.isatty():
        for row in rows:
            sys.stdout.write("\t".join(safe(str(cell)) for cell in row) + "\n")
        return
    console = Console(highlight=False)
    kept = list(range(len(columns)))
    for number in (None, *spare):
        kept = [place for place in kept if place != number]
        table = _table(columns, rows, kept=kept, right=right)
        if Measurement.get(console, console.options.update(max_width=1000), table).maximum <= console.width:
            break
    console.print(table)


def _table(columns: list[str], rows: list[list[str | Text]], *, kept: list[int], right: frozenset[int]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for place in kept:
        table.add_column(columns[place], justify="right" if place in right else "left", overflow="fold")
    for row in rows:
        cells = [row[place] for place in kept]
        table.add_row(*[cell if isinstance(cell, Text) else Text(safe(cell)) for cell in cells])
    return table


def safe(text: str) -> str:
    """Return foreign text without what would steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def status(word: str) -> Text:
    return Text(word, style=STYLES.get(word, ""))


def usd(amount: float | None) -> str:
    """Return dollars with the digits they need, two at least."""
    if amount is None:
        return "-"
    text = f"{amount:.6f}".rstrip("0")
    whole, _, cents = text.partition(".")
    return f"{whole}.{cents.ljust(2, '0')} USD"


def moment_of(text: str) -> datetime:
    """Read what --since names; raise SettingsError for another text."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"--since {text!r}: write a time such as 2026-11-01 or 2026-11-01T09:30:00Z.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def pairs(words: list[str], *, option: str) -> list[tuple[str, str]]:
    """Read `name=value` words; raise SettingsError for another."""
    found = [word.partition("=") for word in words]
    for word, (name, equals, _) in zip(words, found, strict=True):
        if not name or not equals:
            raise SettingsError(f"{option} {word!r}: write name=value.")
    return [(name, value) for name, _, value in found]
