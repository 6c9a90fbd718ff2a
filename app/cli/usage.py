"""reelay usage: jobs, seconds of video and dollars."""

from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.text import Text

from app.cli import service, terminal


class By(StrEnum):
    DAY = "day"
    MODEL = "model"
    KEY = "key"
    SUBJECT = "subject"


def usage_command(
    *,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="DATE", help="The first day (UTC); by default the first of the month."),
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="DATE", help="The last day; by default today.")] = None,
    by: Annotated[By, typer.Option("--by", help="What to group by.")] = By.DAY,
    as_json: terminal.AsJson = False,
) -> None:
    """Show what the project used."""
    asked = {"from": start, "to": end, "group_by": by.value}
    found = service.connect().read("/v1/usage", {name: value for name, value in asked.items() if value})
    if as_json:
        terminal.show_json(found)
        return
    rows: list[list[str | Text]] = [
        [row["name"] or row["group"] or "(none)", *_sums(row)] for row in (*found["data"], found["total"] | _TOTAL)
    ]
    terminal.show_table([by.upper(), "JOBS", "VIDEO", "CHARGED", "OPEN"], rows, right=frozenset({1, 2, 3, 4}))
    if found["has_more"]:
        terminal.say("Only the dearest are shown; the total holds all.")
    if month := found.get("month"):
        terminal.say(_standing(month))


def _standing(month: dict[str, Any]) -> str:
    """Say how the project's month stands; an older server does not tell."""
    spent, reserved = terminal.usd(month["spent_usd"]), terminal.usd(month["reserved_usd"])
    stands = f"{month['month']}: {spent} spent, {reserved} reserved"
    if month["budget_usd"] is None:
        return f"{stands}; no budget is set."
    return (
        f"{stands}; {terminal.usd(month['remaining_usd'])} of the budget of {terminal.usd(month['budget_usd'])} left."
    )


_TOTAL = {"group": "total", "name": None}


def _sums(row: dict[str, float]) -> list[str]:
    return [str(row["jobs"]), f"{row['seconds']:g} s", terminal.usd(row["charged_usd"]), terminal.usd(row["open_usd"])]
