"""Keep the upstream's price list fresh, so that every job has an estimate before it is bought."""

import structlog

from app.db import deployment
from app.db.engine import Connection
from app.domain.errors import UpstreamFailure
from app.workers.loop import UpstreamDuty

log = structlog.get_logger()
USUAL_SECONDS = 600.0
SOON_SECONDS = 30.0


class PriceKeeper(UpstreamDuty):
    """Reads the public price list every now and then; it costs nothing and needs no key."""

    name = "prices"
    interval_seconds = USUAL_SECONDS
    may_be_cut = True

    async def run_once(self) -> bool:
        """Fetch the list if it changed; try again soon if that failed."""
        etag = await self._db.read(_known_etag)
        try:
            fresh = await self._upstream.prices(etag=etag)
        except UpstreamFailure as failure:
            log.warning("prices_not_fetched", error=failure.message)
            self.interval_seconds = SOON_SECONDS
            return False

        def keep(conn: Connection) -> None:
            rules = None if fresh is None else {name: rule.to_json() for name, rule in fresh.rules.items()}
            etag, models = (None, ()) if fresh is None else (fresh.etag, fresh.models)
            deployment.save_prices(conn, etag=etag, rules=rules, models=models, now=self._db.now(conn))

        await self._db.write(keep)
        self.interval_seconds = USUAL_SECONDS
        return False


def _known_etag(conn: Connection) -> str | None:
    """Return the tag of the list that is kept; None if the models of it are not, which an older build left out."""
    etag, _ = deployment.read_prices(conn)
    return None if deployment.read_listing(conn) is None else etag
