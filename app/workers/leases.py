"""Hold a lease while working: take it, renew it in the background, notice when it is lost."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta

import structlog

from app.db import claims
from app.db.claims import Lease
from app.db.engine import Database

log = structlog.get_logger()


class Leasing:
    """Makes leases of one length, and keeps them while their work goes on."""

    def __init__(self, db: Database, *, seconds: float) -> None:
        self._db = db
        self._length = timedelta(seconds=seconds)

    def new(self, now: datetime) -> Lease:
        return Lease(secrets.token_hex(8), now + self._length)

    def end(self, now: datetime) -> datetime:
        return now + self._length

    @asynccontextmanager
    async def kept(self, job_id: str, token: str) -> AsyncIterator[None]:
        """Renew the lease every third of its length until the block is left."""
        renewing = asyncio.create_task(self._renew(job_id, token))
        try:
            yield
        finally:
            renewing.cancel()
            with suppress(asyncio.CancelledError):
                await renewing

    async def _renew(self, job_id: str, token: str) -> None:
        while True:
            await asyncio.sleep(self._length.total_seconds() / 3)
            try:
                kept = await self._db.write(
                    lambda conn: claims.renew(conn, job_id, token=token, expires_at=self.end(self._db.now(conn)))
                )
            except Exception as error:  # noqa: BLE001  # whatever it was, the next renewal may succeed
                log.warning("lease_renewal_failed", job_id=job_id, error=str(error))
                continue
            if not kept:
                log.warning("lease_lost", job_id=job_id)
                return
