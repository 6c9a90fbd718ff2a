"""Ask a free question while submissions hold: no job is risked to find out what a look can tell."""

from datetime import datetime, timedelta

import structlog

from app.db import gate, settling
from app.db.engine import Connection
from app.db.gate import Gate
from app.domain.errors import Refusal, Refused, UpstreamFailure
from app.domain.retry import LONGEST_OUTAGE_PAUSE_SECONDS, backoff
from app.workers.balance import look
from app.workers.loop import UpstreamDuty

log = structlog.get_logger()
PROBE_PAUSE = timedelta(seconds=30)
"""How long the others wait for a probe's answer: longer than a read may take."""


class Prober(UpstreamDuty):
    """Looks at the account when a hold says so; once that goes well, one job may try."""

    name = "probe"
    interval_seconds = 1.0
    may_be_cut = True
    _told: str | None = None

    async def run_once(self) -> bool:
        """Say so if submissions have begun or ceased to hold. Probe if it is time to; only one replica does."""
        state, now = await self._db.read(lambda conn: (gate.read(conn), self._db.now(conn)))
        self._tell(state.reason)
        if not _is_due(state, now):
            return False
        held = await self._db.write(lambda conn: gate.claim_probe(conn, now=self._db.now(conn), pause=PROBE_PAUSE))
        if held is not None:
            trouble = await self._trouble(held)
            await self._db.write(lambda conn: self._note(conn, held, trouble))
        return False

    def _tell(self, reason: str | None) -> None:
        if reason is not None and reason != self._told:
            log.warning("submissions_held", reason=reason)
        elif reason is None and self._told is not None:
            log.info("submissions_go_on")
        self._told = reason

    async def _trouble(self, held: Gate) -> str | None:
        """Return why no job should try yet; None if one may."""
        try:
            balance = await look(self._db, self._upstream)
        except Refused as refused:
            return "upstream_key_refused" if refused.refusal is Refusal.BAD_KEY else "upstream_forbidden"
        except UpstreamFailure as failure:
            log.info("probe_unanswered", error=failure.message)
            return held.hold_reason
        if balance.micros is None or held.needed_micros is None:
            return None
        under_way = await self._db.read(settling.committed_micros)
        return None if balance.micros - under_way >= held.needed_micros else "upstream_out_of_credits"

    def _note(self, conn: Connection, held: Gate, trouble: str | None) -> None:
        now = self._db.now(conn)
        if trouble is None:
            log.info("probe_succeeded", reason=held.hold_reason)
            gate.let_one_try(conn, now=now)
            return
        pause = backoff(held.hold_level, most=LONGEST_OUTAGE_PAUSE_SECONDS)
        gate.put_off_probe(conn, until=now + timedelta(seconds=pause), reason=trouble)


def _is_due(held: Gate, now: datetime) -> bool:
    return held.probe_first and held.held_until is not None and held.held_until <= now
