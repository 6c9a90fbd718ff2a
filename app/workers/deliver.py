"""Tell whoever wants to be told: events that are owed go to their URLs, again and again until one is taken."""

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from app import metrics, tracing
from app.db import acts, deliveries, webhooks
from app.db.deliveries import Attempt, Owed
from app.db.engine import Connection, Database
from app.db.signals import DELIVER
from app.domain.actor import BY_ITSELF
from app.domain.moments import as_of, remains_of
from app.domain.sealing import Sealer, Unsealable
from app.domain.signing import Signer
from app.domain.views import EventView, Viewer, render_job
from app.domain.webhooks import TIMEOUT_SECONDS, Disabled, next_pause
from app.outbound import webhook
from app.outbound.guard import Guard
from app.outbound.webhook import Answer
from app.workers.loop import Crew, Duty

log = structlog.get_logger()
STOP_SECONDS = 3.0
SETTLE_SECONDS = 10.0
"""How long, beyond the time-out, a delivery stays with its worker before another takes it for dead."""
UNREADABLE = "Its secret can't be read with this signing secret. Rotate the webhook's secret."


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """What is needed to send: how links are made, whom we may call, what opens the secrets."""

    guard: Guard
    sealer: Sealer
    signer: Signer
    public_url: str
    retention: timedelta | None
    timeout_seconds: float = TIMEOUT_SECONDS

    def body(self, owed: Owed, *, sent_at: datetime) -> bytes:
        """Return the event as it was, with links that open from now on."""
        if owed.job is None:
            data = {"webhook_id": owed.webhook.id}
        elif owed.job.deleted_at is not None:
            data = remains_of(owed.job.id, owed.moment)
        else:
            viewer = Viewer(self.public_url, self.signer, owed.link_key_id, self.retention)
            job = as_of(owed.job, owed.moment)
            data = render_job(job, now=owed.event_at, viewer=viewer, links_at=sent_at).model_dump(mode="json")
        event = EventView(id=owed.event_id, type=owed.event_type, created_at=owed.event_at, data=data)
        return event.model_dump_json().encode()

    async def post(self, owed: Owed, *, sent_at: datetime) -> Answer:
        """Make one attempt; raise nothing."""
        try:
            return await webhook.post(
                owed.url,
                event_id=owed.event_id,
                body=self.body(owed, sent_at=sent_at),
                sent_at=sent_at,
                secrets=owed.webhook.signing(self.sealer, now=sent_at),
                guard=self.guard,
                timeout_seconds=self.timeout_seconds,
            )
        except Unsealable:
            return Answer(duration_seconds=0.0, error=UNREADABLE)
        except Exception as error:
            log.exception("delivery_broke", delivery_id=owed.id)
            return Answer(duration_seconds=0.0, error=f"It could not be sent ({type(error).__name__}).")


class Deliverer(Duty):
    """Sends what is owed. Each endpoint has hands of its own, so that a slow or dead one delays nobody else."""

    name = "deliver"
    interval_seconds = 2.0
    topic = DELIVER

    def __init__(
        self,
        db: Database,
        sending: Sending,
        *,
        concurrency: int = 256,
        share: int = 16,
        chance: Callable[[], float] = random.random,
        shuffle: Callable[[list[str]], None] = random.shuffle,
    ) -> None:
        self._db = db
        self._sending = sending
        self._lease = timedelta(seconds=sending.timeout_seconds + SETTLE_SECONDS)
        self._concurrency = concurrency
        self._share = share
        self._chance = chance
        self._shuffle = shuffle
        self._busy = Counter[str]()
        self.crew = Crew()

    async def run_once(self) -> bool:
        """Lease what is due, for as many hands as are free, and start sending it."""
        room = self._concurrency - len(self.crew)
        if room <= 0:
            return False
        for owed, claimed_at in await self._db.write(lambda conn: self._claim(conn, room)):
            self._busy[owed.webhook.id] += 1
            about = {"delivery_id": owed.id, "job_id": owed.job_id}
            facts = {"delivery__id": owed.id, "event__type": owed.event_type}
            sending = self._deliver(owed, claimed_at)
            work = tracing.within(sending, "deliver", job=owed.job, attempt=owed.tries + 1, **facts)
            self.crew.start(work, name="deliver", **about)
        return False

    async def drain(self) -> None:
        """Finish what is nearly sent; what hangs is given back at once, for another worker to send again."""
        await self.crew.cut_short(after_seconds=STOP_SECONDS)

    def _claim(self, conn: Connection, room: int) -> list[tuple[Owed, datetime]]:
        now = self._db.now(conn)
        claimed = deliveries.claim(
            conn,
            now=now,
            busy=self._busy,
            room=room,
            share=self._share,
            token=secrets.token_hex(8),
            lease=self._lease,
            shuffle=self._shuffle,
        )
        return [(owed, now) for owed in claimed]

    async def _deliver(self, owed: Owed, claimed_at: datetime) -> None:
        try:
            answer = await self._sending.post(owed, sent_at=claimed_at)
            tracing.note(outcome="failed" if answer.error else "delivered", status_code=answer.status_code)
            (metrics.DELIVERED if answer.error is None else metrics.NOT_DELIVERED).inc()
            await self._db.write(lambda conn: self._settle(conn, owed, answer, started_at=claimed_at))
        except asyncio.CancelledError:
            await self._db.write(lambda conn: deliveries.put_back(conn, owed, now=self._db.now(conn)))
            raise
        finally:
            self._busy[owed.webhook.id] -= 1
            self._busy += Counter()  # drops those at zero
        self._db.signals.wake([DELIVER])

    def _settle(self, conn: Connection, owed: Owed, answer: Answer, *, started_at: datetime) -> None:
        """Note the attempt; book the next one, if there is to be one; judge the endpoint by it."""
        now = self._db.now(conn)
        attempt = Attempt(
            started_at=started_at,
            duration_seconds=answer.duration_seconds,
            status_code=answer.status_code,
            error=answer.error,
        )
        delivered = answer.error is None
        pause = None if delivered else self._pause(conn, owed, answer)
        due_at = None if pause is None else now + pause
        if not deliveries.settle(conn, owed, attempt, delivered=delivered, due_at=due_at):
            log.warning("delivery_overtaken", delivery_id=owed.id, job_id=owed.job_id)
            return
        if not delivered:
            about = {"delivery_id": owed.id, "job_id": owed.job_id}
            log.info("delivery_failed", **about, status=answer.status_code, tries=owed.tries + 1)
        if not owed.is_test and owed.webhook.url is not None:
            self._judge(conn, owed, answer, now=now)

    def _pause(self, conn: Connection, owed: Owed, answer: Answer) -> timedelta | None:
        """Return when to try again; None for never."""
        if owed.is_test or answer.is_gone or webhooks.is_disabled(conn, owed.webhook):
            return None
        return next_pause(owed.tries + 1, chance=self._chance(), asked_seconds=answer.retry_after_seconds)

    def _judge(self, conn: Connection, owed: Owed, answer: Answer, *, now: datetime) -> None:
        hook, reason = owed.webhook, None
        if answer.error is None:
            webhooks.note_success(conn, hook)
        elif not answer.is_gone:
            reason = webhooks.note_failure(conn, hook, now=now)
        elif webhooks.disable(conn, hook.id, reason=Disabled.GONE, now=now):
            reason = Disabled.GONE
        if reason is not None:
            with acts.acting(conn, BY_ITSELF):
                target = {"target": hook.id, "project_id": hook.project_id}
                acts.note(conn, "webhook.disabled", **target, now=now, data={"reason": reason})
            log.warning("webhook_disabled", webhook_id=hook.id, project_id=hook.project_id, reason=reason)
