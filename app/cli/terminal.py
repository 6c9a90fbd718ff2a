"""How the client speaks: results on standard output, everything meant for people alone on standard error."""

import json
import sys
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.settings import SettingsError

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


def show_json(value: Any) -> None:
    """Print the result for machines."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def show_table(columns: list[str], rows: list[list[str | Text]], *, right: frozenset[int] = frozenset()) -> None:
    """Print rows: aligned under a heading on a terminal, separated by tabs and without a heading elsewhere."""
    if not sys.stdout.isatty():
        for row in rows:
            sys.stdout.write("\t".join(safe(str(cell)) for cell in row) + "\n")
        return
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number in right else "left", overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*[cell if isinstance(cell, Text) else Text(safe(cell)) for cell in row])
    Console(highlight=False).print(table)


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


def pairs(words: list[str], *, option: str) -> list[tuple[str, str]]:
    """Read `name=value` words; raise SettingsError for another."""
    found = [word.partition("=") for word in words]
    for word, (name, equals, _) in zip(words, found, strict=True):
        if not name or not equals:
            raise SettingsError(f"{option} {word!r}: write name=value.")
    return [(name, value) for name, _, value in found]
