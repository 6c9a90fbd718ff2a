"""The doctor's questions to the upstream, all of them free: the key, the balance, the prices, the time."""

import asyncio
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2

from app import back_room
from app.cli.finding import Finding, doubtful, failed, fine
from app.domain.errors import FetchFailed, ReelayError, Refused, SettingsError
from app.domain.money import micros_to_usd
from app.settings import Settings, open_database
from app.upstream.client import UpstreamClient

LOW_BALANCE_MICROS = 5_000_000
PATIENCE_SECONDS = 8.0
DOUBTFUL_SECONDS, WRONG_SECONDS = 30.0, 300.0


async def upstream(settings: Settings) -> list[Finding]:
    """Does the key work, is there money on the account, and can the prices be read?"""
    if settings.upstream_api_key is None:
        sentence = "No upstream key is set: `reelay serve --sandbox` starts, and API processes without workers."
        return [doubtful("upstream", sentence, "REELAY_UPSTREAM_API_KEY=..., to spend money")]
    try:
        client = back_room.upstream(settings, fetch_timeout_seconds=PATIENCE_SECONDS)
    except SettingsError as error:
        return [failed("upstream", f"No request can be made: {error}", "Mend the setting that is meant.")]
    async with client:
        return [finding for found in await asyncio.gather(_account(client), _prices(client)) for finding in found]


async def _account(client: UpstreamClient) -> list[Finding]:
    try:
        micros = (await client.balance()).micros
    except Refused as refused:
        sentence = f"The upstream refuses the key ({refused.http_status}): {refused.message}"
        return [failed("upstream", sentence, "Set a key that works in REELAY_UPSTREAM_API_KEY.")]
    except FetchFailed as error:
        mend = "Look at the network, DNS and REELAY_UPSTREAM_URL; or the upstream is down."
        return [failed("upstream", f"The balance can't be read: {error.message}", mend)]
    if micros is None:
        return [fine("upstream", "The key works; the answer named no balance.")]
    shown = f"The key works; the balance is {micros_to_usd(micros):.2f} USD"
    if micros <= 0:
        return [failed("upstream", f"{shown}: nothing can be bought.", "Top the account up.")]
    if micros < LOW_BALANCE_MICROS:
        return [doubtful("upstream", f"{shown}: not enough for more than a video or two.", "Top the account up.")]
    return [fine("upstream", f"{shown}.")]


async def _prices(client: UpstreamClient) -> list[Finding]:
    try:
        listed = await client.prices()
    except FetchFailed as error:
        mend = "Jobs have no estimate meanwhile. Look at REELAY_UPSTREAM_URL; or the upstream is down."
        return [doubtful("upstream", f"The price list can't be read: {error.message}", mend)]
    return [fine("upstream", f"The price list names {len(listed.rules) if listed else 0} video models.")]


async def clock(settings: Settings) -> list[Finding]:
    """Compare this machine's clock with those it has to agree with: signed links and leases hang on it."""
    found = []
    for name, now in (("The upstream", _upstream_time(settings)), ("The database", _database_time(settings))):
        there = await now
        if there is not None:
            found.append(_compared(name, (there - datetime.now(UTC)).total_seconds()))
    return found or [fine("clock", "No other clock could be asked.")]


def _compared(name: str, seconds: float) -> Finding:
    off = abs(seconds)
    shown = f"{name}'s clock is {off:.0f} s {'ahead of' if seconds > 0 else 'behind'} this machine's"
    if off >= DOUBTFUL_SECONDS:
        finding = failed if off >= WRONG_SECONDS else doubtful
        return finding("clock", f"{shown}.", "Set the clocks by NTP, such as with `timedatectl set-ntp true`.")
    return fine("clock", f"{name}'s clock agrees with this machine's.")


async def _upstream_time(settings: Settings) -> datetime | None:
    """Return the upstream's `Date`, exact to the second. It is asked for without the key, but only if there is one."""
    if settings.upstream_api_key is None:
        return None
    try:
        async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as client:
            answer = await client.head(settings.upstream_url)
        return parsedate_to_datetime(answer.headers["date"]).astimezone(UTC)
    except (httpx2.HTTPError, httpx2.InvalidURL, KeyError, ValueError):
        return None  # the upstream's own check says whether it answers


async def _database_time(settings: Settings) -> datetime | None:
    if settings.sqlalchemy_url.startswith("sqlite"):
        return None  # it has this machine's
    try:
        db = await asyncio.to_thread(open_database, settings)
    except SettingsError:
        return None
    try:
        return await db.read(db.now)
    except ReelayError:
        return None
    finally:
        await asyncio.to_thread(db.close)
