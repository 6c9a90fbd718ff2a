"""What came of the jobs of a command: a line each, or one JSON list."""

import sys
from typing import Any

from rich.text import Text

from app.cli import terminal
from app.cli.batch import Work, say_how_to_resume
from app.cli.exits import Exit


def tell(works: list[Work], *, as_json: bool) -> None:
    """Print what came of each job: results on standard output, what went wrong or goes on on standard error."""
    if as_json:
        terminal.show_json([_entry(work) for work in works])
    for work in [] if as_json else works:
        if work.error is not None:
            _complain(work, several=len(works) > 1)
        elif work.code is Exit.OK and work.job is not None:
            _show_success(work, several=len(works) > 1)
    if any(work.code is Exit.INTERRUPTED for work in works):
        say_how_to_resume(works)


def facts(job: dict[str, Any]) -> str:
    """Return the measures and the price of a finished video."""
    video, cost = job["video"], job["cost"]
    found = [f"{video['width']}x{video['height']}"] if video["width"] else []
    found += [f"{video['duration_seconds']:g} s"] if video["duration_seconds"] else []
    found += [f"{video['size_bytes'] / 1e6:.1f} MB"]
    found += [terminal.usd(cost["charged_usd"])] if cost["charged_usd"] is not None else []
    return ", ".join(found)


def _show_success(work: Work, *, several: bool) -> None:
    assert work.job is not None
    result = str(work.file or work.job["id"])
    if not sys.stdout.isatty():
        sys.stdout.write(result + "\n")
        return
    line = Text.assemble(("✓ ", "green"), (f"{terminal.safe(work.label)}  " if several else "", "bold"), result)
    if work.job["video"] is not None:
        line.append(f"  {facts(work.job)}", style="dim")
    terminal.show(line)


def _complain(work: Work, *, several: bool) -> None:
    mark, style = ("✗", "red") if work.code is not Exit.CANCELED else ("-", "yellow")
    whose = f"{terminal.safe(work.label)}: " if several else ""
    line = Text.assemble((f"{mark} ", style), (whose, "bold"), terminal.safe(work.error or ""))
    if work.job is not None:
        line.append(f"  {work.job['id']}", style="dim")
    terminal.say(line)


def _entry(work: Work) -> dict[str, Any]:
    error = None if work.error is None else {"code": work.error_code, "message": work.error}
    return {
        "label": work.label,
        "exit_code": int(work.code),
        "file": None if work.file is None else str(work.file),
        "error": error,
        "job": work.job,
    }
