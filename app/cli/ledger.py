"""reelay ledger: hold our books against the upstream's account."""

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from app import back_room
from app.cli import terminal
from app.cli.exits import Away, Exit
from app.db import schema
from app.domain.actor import ON_THE_HOST
from app.domain.errors import Refused, SettingsError, UpstreamFailure
from app.domain.money import micros_to_usd
from app.domain.transactions import Difference
from app.settings import Settings, open_database
from app.workers.audit import LOOK_BACK, check

ledger = typer.Typer(help="Our books against the upstream's account.", no_args_is_help=True)
WORDS = {
    "charge_differs": "the account was charged another amount",
    "not_on_account": "the account was never charged for it",
    "unknown_purchase": "the account was charged for a generation that is not in our books",
    "nothing_to_compare": "charged as estimated, and no generation is known to look for",
    "unreadable_charge": "the account shows a charge that could not be read",
    "sum_differs": "our sums did not fit our jobs",
}


@ledger.command("check")
def check_command(
    *,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="From when on, such as 2026-11-01; by default the last 7 days.")
    ] = None,
    shared_key: Annotated[
        bool, typer.Option("--shared-key", help="Others buy with this key too: what is not ours is no difference.")
    ] = False,
    as_json: terminal.AsJson = False,
) -> None:
    """Compare the ledger with the upstream's transactions, book what they know better, and report every difference.

    Spends nothing. Exit status 1: something differed, booked or not. 4: the account could not be read.
    """
    settings = Settings.load()
    found = asyncio.run(_check(settings, since=None if since is None else _moment(since)))
    if shared_key:
        found = [difference for difference in found if difference.finding != "unknown_purchase"]
    if as_json:
        terminal.show_json([_plain(difference) for difference in found])
    else:
        for difference in found:
            typer.echo(_line(difference))
        typer.echo(f"{len(found)} differences." if found else "The ledger agrees with the account.")
    if found:
        raise typer.Exit(Exit.FAILED)


async def _check(settings: Settings, *, since: datetime | None) -> list[Difference]:
    db = open_database(settings)
    try:
        await db.read(schema.require_ready)
        start = since or await db.read(db.now) - LOOK_BACK
        async with back_room.upstream(settings) as upstream:
            return await check(db, upstream, since=start, by=ON_THE_HOST)
    except Refused as failure:
        raise SettingsError(f"The upstream refused the key: {failure.message}") from None
    except UpstreamFailure as failure:
        raise Away(f"The account could not be read, and nothing more was compared: {failure.message}") from None
    finally:
        db.close()


def _moment(text: str) -> datetime:
    moment = terminal.moment_of(text)
    if moment > datetime.now(UTC) + timedelta(days=1):
        raise SettingsError(f"--since {text!r} is in the future.")
    return moment


def _line(difference: Difference) -> str:
    ours, theirs = micros_to_usd(difference.ours_micros), micros_to_usd(difference.theirs_micros)
    outcome = "booked" if difference.booked else "not booked"
    return f"{difference.about}: {WORDS[difference.finding]} (ours {ours} USD, theirs {theirs} USD; {outcome})"


def _plain(difference: Difference) -> dict[str, Any]:
    facts = asdict(difference)
    ours, theirs = facts.pop("ours_micros"), facts.pop("theirs_micros")
    return facts | {"ours_usd": micros_to_usd(ours), "theirs_usd": micros_to_usd(theirs)}
