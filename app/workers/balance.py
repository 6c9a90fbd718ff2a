"""Look at the account now and then, which is free, so that an operator sees what is left before it is spent."""

from datetime import timedelta

import structlog

from app.db import gate
from app.db.engine import Connection, Database
from app.domain.errors import UpstreamFailure
from app.upstream.client import UpstreamClient
from app.upstream.wire import Balance
from app.workers.loop import UpstreamDuty

log = structlog.get_logger()


async def look(db: Database, upstream: UpstreamClient) -> Balance:
    """Ask for the balance, and keep it for operators to see; raise UpstreamFailure where it can't be read."""
    balance = await upstream.balance()
    await db.write(lambda conn: gate.note_balance(conn, balance.micros, now=db.now(conn)))
    return balance


class Accountant(UpstreamDuty):
    """Keeps the balance that the upstream shows, and when it was seen; one replica's look serves all."""

    name = "balance"
    interval_seconds = 300.0
    may_be_cut = True

    async def run_once(self) -> bool:
        """Ask, unless somebody did a moment ago. What could not be read leaves the last balance, with its age."""
        if not await self._db.read(self._is_due):
            return False
        try:
            await look(self._db, self._upstream)
        except UpstreamFailure as failure:
            log.info("balance_not_read", error=failure.message)
        return False

    def _is_due(self, conn: Connection) -> bool:
        seen_at = gate.read(conn).balance_at
        # Half of the interval: a round that comes a little early must not wait for the next.
        age = None if seen_at is None else self._db.now(conn) - seen_at
        return age is None or not timedelta(0) <= age < timedelta(seconds=self.interval_seconds / 2)
