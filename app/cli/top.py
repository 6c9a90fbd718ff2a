"""reelay top: the deployment's figures, live on a terminal, read straight from the database."""

import asyncio
import shutil
import sys
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from app.cli import terminal
from app.db import figures, schema
from app.db.engine import Connection, Database
from app.domain.errors import Unavailable
from app.domain.figures import Crowd, Ended, Figures
from app.domain.states import JobState
from app.settings import Settings, open_database

Seconds = Annotated[float, typer.Option(min=0.5, max=3600, metavar="SECONDS", help="How often to look.")]
SILENT_SECONDS, LONG_SECONDS, LITTLE_DISK = 60, 600, 0.1


class Fact(NamedTuple):
    """One line: what it is, how it stands, and whether somebody should look at it."""

    name: str
    value: str
    is_bad: bool = False


def register(app: typer.Typer, *, panel: str) -> None:
    """Hang the command onto the root."""
    app.command("top", rich_help_panel=panel)(top_command)


def top_command(*, interval: Seconds = 2.0, as_json: terminal.AsJson = False) -> None:
    """Watch jobs, money, holds and webhooks. Without a terminal, or with --json, it looks once."""
    settings = Settings.load()
    db = open_database(settings)
    try:
        if sys.stdout.isatty() and not as_json:
            asyncio.run(_watch(db, settings.data_dir, interval))
            return
        seen = asyncio.run(db.read(partial(_read, db=db)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return
    finally:
        db.close()
    if as_json:
        terminal.show_json(plain(seen, folder=settings.data_dir))
    else:
        counts = [Fact(f"{group.state} {group.model}", str(group.count)) for group in _groups(seen)]
        terminal.show_table([], [[fact.name, fact.value] for fact in [*counts, *facts(seen, settings.data_dir)]])


async def _watch(db: Database, folder: Path, interval: float) -> None:
    console = Console(highlight=False)
    shown = _screen(await db.read(partial(_read, db=db)), folder)
    with Live(shown, console=console, screen=True, auto_refresh=False) as live:
        while True:
            await asyncio.sleep(interval)
            try:
                shown = _screen(await db.read(partial(_read, db=db)), folder)
                live.update(shown, refresh=True)
            except Unavailable as error:
                live.update(Group(Text(error.message, style="red"), shown), refresh=True)


def _read(conn: Connection, *, db: Database) -> Figures:
    schema.require_ready(conn)
    return figures.read(conn, db)


def _groups(seen: Figures) -> list[Crowd | Ended]:
    """Return the jobs that are under way and those that ended lately, in the order of their states."""
    order = list(JobState)
    return sorted([*seen.live, *seen.ended], key=lambda group: (order.index(group.state), group.model))


def facts(seen: Figures, folder: Path) -> list[Fact]:
    """Return every figure but the numbers of jobs."""
    doubts, books, backlog = seen.doubts, seen.books, seen.backlog
    holds = [Fact(f"{model} held", reason, is_bad=True) for model, reason in sorted(seen.model_holds.items())]
    pace = [] if seen.pace_per_minute is None else [Fact("pace", f"{seen.pace_per_minute:g} a minute", is_bad=True)]
    return [
        Fact("submissions held", seen.hold or "no", is_bad=seen.hold is not None),
        *holds,
        *pace,
        _since("oldest queued", seen.oldest_queued_at, seen, bad_after=LONG_SECONDS, otherwise="none"),
        Fact("unconfirmed", f"{doubts.jobs}, {terminal.usd(doubts.micros / 1e6)} at risk", is_bad=doubts.jobs > 0),
        Fact("need a decision", str(doubts.unresolved), is_bad=doubts.unresolved > 0),
        Fact("parked", str(seen.parked), is_bad=seen.parked > 0),
        Fact("stray purchases", str(seen.strays), is_bad=seen.strays > 0),
        Fact("spent this month", terminal.usd(books.spent_micros / 1e6)),
        Fact("reserved this month", terminal.usd(books.reserved_micros / 1e6)),
        Fact("projects near their budget", str(books.nearly_spent), is_bad=books.nearly_spent > 0),
        Fact("webhooks owed", str(backlog.owed)),
        _since("oldest owed", backlog.oldest_at, seen, bad_after=LONG_SECONDS, otherwise="none"),
        _since("worker last heard", seen.beat_at, seen, bad_after=SILENT_SECONDS, otherwise="never"),
        _since("usage log last read", seen.log_read_at, seen, bad_after=3600, otherwise="never"),
        _disk(folder),
    ]


def _since(name: str, moment: datetime | None, seen: Figures, *, bad_after: float, otherwise: str) -> Fact:
    if moment is None:
        return Fact(name, otherwise, is_bad=otherwise == "never")
    seconds = max(0.0, (seen.at - moment).total_seconds())
    minutes, hours = seconds / 60, seconds / 3600
    words = f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if hours < 2 else f"{hours:.0f} h"
    return Fact(name, f"{words} ago", is_bad=seconds > bad_after)


def _usage(folder: Path) -> Any:
    """Return how full the disk is where the data folder is, or would be."""
    wanted = folder.absolute()
    return shutil.disk_usage(next(there for there in (wanted, *wanted.parents) if there.exists()))


def _disk(folder: Path) -> Fact:
    usage = _usage(folder)
    few = usage.free < LITTLE_DISK * usage.total
    return Fact("disk free", f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB", is_bad=few)


def _screen(seen: Figures, folder: Path) -> Group:
    ended = Text("succeeded, failed and canceled: within the last ten minutes", style="dim")
    return Group(_jobs(seen), ended, Text(""), _lines(facts(seen, folder)))


def _jobs(seen: Figures) -> Table:
    """A row for each model, a column for each state; what ended did so within ten minutes."""
    found = {(group.model, group.state): group.count for group in _groups(seen)}
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(f"{seen.at:%H:%M:%S} UTC")
    for state in JobState:
        table.add_column(state, justify="right")
    for model in sorted({model for model, _ in found}):
        numbers = [found.get((model, state), 0) for state in JobState]
        table.add_row(terminal.safe(model), *[str(number or "-") for number in numbers])
    table.add_row("all models", *[str(seen.of_state(state)) for state in JobState], style="bold")
    return table


def _lines(listed: list[Fact]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for fact in listed:
        table.add_row(fact.name, Text(fact.value, style="bold red" if fact.is_bad else ""))
    return table


def plain(seen: Figures, *, folder: Path) -> dict[str, Any]:
    """Return the figures for programs."""
    doubts, books, backlog, usage = seen.doubts, seen.books, seen.backlog, _usage(folder)

    def groups(listed: list[Crowd] | list[Ended]) -> list[dict[str, Any]]:
        return [{"state": group.state, "model": group.model, "count": group.count} for group in listed]

    return {
        "at": _moment(seen.at),
        "jobs": groups(seen.live),
        "ended_lately": groups(seen.ended),
        "oldest_queued_at": _moment(seen.oldest_queued_at),
        "unconfirmed": {"jobs": doubts.jobs, "unresolved": doubts.unresolved, "usd": doubts.micros / 1e6},
        "parked": seen.parked,
        "stray_purchases": seen.strays,
        "hold": seen.hold,
        "model_holds": seen.model_holds,
        "pace_per_minute": seen.pace_per_minute,
        "month": {"spent_usd": books.spent_micros / 1e6, "reserved_usd": books.reserved_micros / 1e6},
        "projects_near_budget": books.nearly_spent,
        "deliveries": {"owed": backlog.owed, "oldest_at": _moment(backlog.oldest_at)},
        "worker_heard_at": _moment(seen.beat_at),
        "usage_log_read_at": _moment(seen.log_read_at),
        "disk": {"free_bytes": usage.free, "size_bytes": usage.total},
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
