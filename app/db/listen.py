"""Hear other replicas: LISTEN on a direct Postgres connection, which a transaction pooler could not carry."""

import asyncio
import time

import psycopg
import sqlalchemy as sa
import structlog

from app.db.engine import CHANNEL, KEEPALIVES
from app.db.signals import Signals

log = structlog.get_logger()
RECONNECT_SECONDS = 2.0
ASK_SECONDS = 0.5
"""How often the connection is asked whether it stands, while somebody relies on hearing every change."""
VOUCHED_SECONDS = 1.5
"""How long an answer vouches for it: as long as a connection that hangs can keep a change from us unnoticed."""
DEAD_SECONDS = 5.0
"""A connection that does not answer for so long is given up."""


async def listen(url: str, signals: Signals) -> None:
    """Wake local waiters whenever another replica commits a change. Runs until canceled; reconnects by itself."""
    plain = sa.make_url(url).set(drivername="postgresql").update_query_dict(KEEPALIVES)
    direct = plain.render_as_string(hide_password=False)
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(
                direct, autocommit=True, connect_timeout=5, application_name="reelay listener"
            ) as connection:
                await connection.execute(f"LISTEN {CHANNEL}")
                # What happened while nobody listened is unknown: everybody looks once.
                signals.wake_all()
                while True:
                    async for notification in connection.notifies(timeout=ASK_SECONDS):
                        signals.wake([notification.payload])
                    if signals.wanted:
                        await _vouch(connection, signals)
        except (psycopg.Error, TimeoutError) as error:
            log.warning("listener_disconnected", error=str(error).strip() or "it does not answer")
        finally:
            signals.doubt()
        await asyncio.sleep(RECONNECT_SECONDS)


async def _vouch(connection: psycopg.AsyncConnection, signals: Signals) -> None:
    """Ask the connection for an answer, before which come all notifications of what was committed until then."""
    asked_at = time.monotonic()
    async with asyncio.timeout(DEAD_SECONDS):
        await connection.execute("SELECT 1")
    # What came with the answer, without waiting for more.
    async for notification in connection.notifies(timeout=0):
        signals.wake([notification.payload])
    signals.vouch(seconds=VOUCHED_SECONDS - (time.monotonic() - asked_at))
