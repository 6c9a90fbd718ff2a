"""Ask the price once more before a job is bought: the list may have changed while it waited."""

from collections.abc import Mapping
from typing import Any

from app.catalogue.catalogue import Catalogue
from app.db import deployment, requoting
from app.db.engine import Database
from app.domain.errors import Refusal, Refused, UnknownModel
from app.domain.job import Job
from app.domain.money import Estimate, quote


class Requoter:
    """Knows today's prices: the operator's own, then the list that is kept in the database."""

    def __init__(self, db: Database, *, catalogue: Catalogue, own_prices: Mapping[str, Any]) -> None:
        self._db = db
        self._catalogue = catalogue
        self._own_prices = own_prices

    async def require_affordable(self, job: Job) -> None:
        """Raise Refused if the job's price has risen above what its caller or its project allows."""
        quoted = await self._quote(job)
        if not requoting.has_risen(job, quoted):
            return
        reason = await self._db.write(lambda conn: requoting.requote(conn, job, quoted, now=self._db.now(conn)))
        if reason is not None:
            raise Refused(reason, refusal=Refusal.COST_LIMIT, http_status=0)

    async def _quote(self, job: Job) -> Estimate:
        rule = self._own_prices.get(job.model)
        if rule is None:
            rule = await self._db.read(lambda conn: deployment.price_of(conn, job.model))
        try:
            given = self._catalogue.get(job.model).effective(job.input)
        except UnknownModel:
            given = job.input
        return quote(rule, given)
