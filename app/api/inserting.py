"""The row of a new job that an order makes, and of the files that came along."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app import tracing
from app.api import estimating, reusing, uploads
from app.api.callers import Caller
from app.api.intake import Intake
from app.api.orders import Order
from app.api.reusing import Copy
from app.db import files, jobs, webhooks
from app.db.engine import Connection
from app.domain.job import Job, Priority
from app.domain.money import Estimate


@dataclass(frozen=True, slots=True)
class Placed:
    """An order that is checked, priced, and whose files are taken in."""

    order: Order
    intake: Intake
    quoted: Estimate
    caller: Caller
    traceparent: str | None = field(default_factory=tracing.traceparent)
    """Read here, since the row is made in a thread of the database's."""


def is_plain(placed: Placed) -> bool:
    """Tell whether the job is a row and nothing else: no file goes with it, nor an address for its own events."""
    intake = placed.intake
    return not intake.uploads and not intake.named and placed.order.request.webhook_url is None


def insert(conn: Connection, now: datetime, *, job_id: str, placed: Placed, copy: Copy | None) -> Job:
    """Insert the job, finished at once where there is the `copy` of a video for it; raise Gone if there is not."""
    intake, caller = placed.intake, placed.caller
    if copy is not None:
        # Before the files: whoever deletes a job locks them after it as well.
        reusing.require_kept(conn, copy, house=intake.house, caller=caller, now=now)
    prints = uploads.record(conn, intake, caller=caller, now=now)
    job = row(placed, now, job_id=job_id, prints=prints)
    if job.webhook_url is not None:
        webhooks.default_of(conn, caller.key, sealer=intake.house.sealer, now=now)
    named = files.references([place.value for place in placed.order.model.media_in(intake.input)])
    if copy is not None:
        return jobs.insert_reused(conn, job, original=copy.original, video=copy.video, file_ids=named)
    return jobs.insert(conn, job, file_ids=named)


def row(placed: Placed, now: datetime, *, job_id: str, prints: uploads.Prints) -> Job:
    """Return the job as it is once its first event is written."""
    order, intake, caller, quoted = placed.order, placed.intake, placed.caller, placed.quoted
    request, seconds = order.request, order.request.start_within_seconds
    return Job(
        id=job_id,
        project_id=caller.key.project_id,
        key_id=caller.key.id,
        token_id=caller.token_id,
        subject=caller.key.subject,
        model=order.model.id,
        input=intake.input,
        metadata=request.metadata,
        priority=Priority[request.priority.upper()],
        likeness=reusing.likeness_of(order.model, intake.input, prints),
        upstream_path=order.model.path,
        max_cost_micros=estimating.cap_of(request.max_cost_usd),
        estimated_micros=quoted.micros,
        estimate_basis=quoted.basis,
        reserved_micros=intake.house.to_reserve(quoted),
        on_unconfirmed=request.on_unconfirmed,
        start_by=None if seconds is None else now + timedelta(seconds=seconds),
        webhook_url=request.webhook_url,
        traceparent=placed.traceparent,
        event_count=1,
        due_at=now,
        created_at=now,
    )
