"""Hear other replicas: LISTEN on a direct Postgres connection, which a transaction pooler could not carry."""

import asyncio
import secrets
import time
from functools import partial
from typing import TYPE_CHECKING

import sqlalchemy as sa
import structlog

from app.db.engine import CHANNEL, KEEPALIVES, Database, notify
from app.domain.errors import Unavailable

if TYPE_CHECKING:
    import psycopg

log = structlog.get_logger()
RECONNECT_SECONDS = 2.0
ASK_SECONDS = 0.5
"""How often it is proven that nothing is missed, while somebody relies on that."""
VOUCHED_SECONDS = 1.5
"""How long a proof holds: a connection that hangs can keep changes from us for so long before that is known."""


async def listen(url: str, db: Database) -> None:
    """Wake local waiters whenever another replica commits a change. Runs until canceled; reconnects by itself."""
    import psycopg  # noqa: PLC0415  # it takes long to load, and a service on SQLite never needs it

    plain = sa.make_url(url).set(drivername="postgresql").update_query_dict(KEEPALIVES)
    direct = plain.render_as_string(hide_password=False)
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(
                direct, autocommit=True, connect_timeout=5, application_name="reelay listener"
            ) as connection:
                await connection.execute(f"LISTEN {CHANNEL}")
                # What happened while nobody listened is unknown: everybody looks once.
                db.signals.wake_all()
                await _hear(connection, db)
        except psycopg.Error as error:
            log.warning("listener_disconnected", error=str(error).strip())
        finally:
            db.signals.doubt()
        await asyncio.sleep(RECONNECT_SECONDS)


async def _hear(connection: "psycopg.AsyncConnection", db: Database) -> None:
    """Pass on what is heard, and vouch for it as long as we hear ourselves too.

    Postgres tells in the order of the commits: with our own word, all that was committed before it has been heard. It
    goes over another connection, as those of the replicas do: a pooler that keeps them from us keeps it as well.
    """
    word, asked_at = "", 0.0
    while True:
        async for notification in connection.notifies(timeout=ASK_SECONDS):
            if notification.payload == word:
                db.signals.vouch(seconds=VOUCHED_SECONDS - (time.monotonic() - asked_at))
            else:
                db.signals.wake([notification.payload])
        if db.signals.wanted:
            word, asked_at = f"word:{secrets.token_hex(8)}", time.monotonic()
            try:
                await db.read(partial(notify, topics={word}))
            except Unavailable as error:
                log.warning("listener_not_proven", reason=str(error))
