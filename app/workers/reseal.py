"""Carry the secrets of webhooks over to the present signing secret, so that the one before it can be taken out."""

import structlog

from app.db import webhooks
from app.db.engine import Connection, Database
from app.domain.sealing import Sealer
from app.workers.loop import Duty

log = structlog.get_logger()


class Resealer(Duty):
    """Reseals at the start, and then often enough to catch what a process with the older settings has sealed since."""

    name = "reseal"
    may_be_cut = True
    interval_seconds = 600.0

    def __init__(self, db: Database, sealer: Sealer) -> None:
        self._db = db
        self._sealer = sealer

    async def run_once(self) -> bool:
        """Reseal what lies under the previous secret, if there is one. There is never more at once."""
        if self._sealer.has_previous and (count := await self._db.write(self._reseal)):
            log.info("webhook_secrets_resealed", count=count)
        return False

    def _reseal(self, conn: Connection) -> int:
        return webhooks.reseal(conn, self._sealer)
