"""What a project or a key may use, as it is written on the command line."""

import re
from typing import Annotated

import typer

from app.catalogue import catalogue
from app.db.access import MOST_BUDGET_MICROS, Limit
from app.domain.errors import SettingsError
from app.domain.money import usd_to_micros

NO_LIMIT = "none"
InFlight = Annotated[str | None, typer.Option(metavar="N", help="At most this many generations at once; or none.")]
Budget = Annotated[
    str | None, typer.Option(metavar="USD", help="At most this much reserved and spent in a month (UTC); or none.")
]
Models = Annotated[
    str | None,
    typer.Option(metavar="IDS", help="Only these models, comma-separated, as `reelay models` lists; or none."),
]
PerMinute = Annotated[str | None, typer.Option(metavar="N", help="At most this many requests a minute; or none.")]


def limits_of(
    *, max_in_flight: str | None, budget: str | None, requests_per_minute: str | None, models: str | None
) -> dict[str, Limit]:
    """Return the limits that were named, by their columns; `none` lifts one."""
    limits: dict[str, Limit] = {}
    if budget is not None:
        limits["monthly_budget_micros"] = None if budget == NO_LIMIT else _dollars(budget)
    if max_in_flight is not None:
        limits["max_in_flight"] = None if max_in_flight == NO_LIMIT else _count(max_in_flight, option="--max-in-flight")
    if requests_per_minute is not None:
        limits["requests_per_minute"] = per_minute(requests_per_minute)
    if models is not None:
        limits["models"] = None if models == NO_LIMIT else _models(models)
    return limits


def _models(text: str) -> list[str]:
    """Return the models' ids; raise UnknownModel for one that is not in the catalogue."""
    known = catalogue.load()
    return sorted({known.get(name.strip()).id for name in text.split(",")})


def per_minute(text: str | None) -> int | None:
    """Return the requests a minute that were named; None for no limit."""
    return None if text in (None, NO_LIMIT) else _count(text, option="--requests-per-minute")


def _dollars(text: str) -> int:
    try:
        micros = usd_to_micros(text)
    except ValueError:
        micros = -1
    if not 0 <= micros <= MOST_BUDGET_MICROS:
        raise SettingsError(f"--budget {text!r}: write dollars such as 250 or 99.50, or none.")
    return micros


def _count(text: str, *, option: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,5}", text, re.ASCII):
        raise SettingsError(f"{option} {text!r}: write a whole number from 1 to 999999, or none.")
    return int(text)
