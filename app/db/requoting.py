"""A price that has risen since a job was made: reserve the rise before the job is bought, or say why it cannot be."""

from datetime import datetime

from sqlalchemy import Connection

from app.db import jobs, ledger
from app.domain.job import Job
from app.domain.money import Estimate, micros_to_usd, month_of
from app.domain.states import JobState


def has_risen(job: Job, quoted: Estimate) -> bool:
    """Tell whether the job would cost more than it was taken to; a price that has become unknown says nothing."""
    return quoted.micros is not None and quoted.micros > (job.expected_micros or 0)


def requote(conn: Connection, job: Job, quoted: Estimate, *, now: datetime) -> str | None:
    """Reserve what is missing to the new price; return why the job must not be bought at it, None if it may."""
    held = jobs.lock(conn, job.id)
    if held.state is not JobState.SUBMITTING or held.lease_token != job.lease_token or not has_risen(held, quoted):
        return None
    price = quoted.micros or 0
    risen = f"The price of this job has risen to {micros_to_usd(price)} USD"
    if held.max_cost_micros is not None and price > held.max_cost_micros:
        return f"{risen}, above its 'max_cost_usd' of {micros_to_usd(held.max_cost_micros)}. Nothing was bought."
    rise = price - (held.expected_micros or 0)
    if not ledger.reserve_more(conn, held, micros=rise):
        whose = f"the project's budget for {month_of(held.created_at)}"
        whose += "" if held.token_id is None else ", or its client token,"
        return f"{risen}, for which {whose} has no room. Nothing was bought."
    data = {"from_usd": micros_to_usd(held.expected_micros or 0), "to_usd": micros_to_usd(price)}
    quote = {"estimated_micros": price, "estimate_basis": quoted.basis}
    jobs.note(conn, held, type="job.requoted", now=now, data=data, reserved_micros=held.reserved_micros + rise, **quote)
    return None
