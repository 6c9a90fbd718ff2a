"""Hear other replicas: LISTEN on a direct Postgres connection, which a transaction pooler could not carry."""

import asyncio

import psycopg
import sqlalchemy as sa
import structlog

from app.db.engine import CHANNEL, KEEPALIVES
from app.db.signals import Signals

log = structlog.get_logger()
RECONNECT_SECONDS = 2.0


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
                async for notification in connection.notifies():
                    signals.wake([notification.payload])
        except psycopg.Error as error:
            log.warning("listener_disconnected", error=str(error).strip())
        await asyncio.sleep(RECONNECT_SECONDS)
