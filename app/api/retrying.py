"""A new job made of an old one: of the same request, or with another prompt."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app import tracing
from app.api import estimating, offering, orders, reusing, uploads
from app.api.callers import Caller
from app.api.deps import House
from app.api.offering import Offer
from app.catalogue.catalogue import Model
from app.db import endings, files, jobs
from app.db.engine import Connection
from app.domain.errors import Conflict, InvalidRequest, UnknownModel
from app.domain.job import Job


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms the new job is made: today's models and prices, in the name of who asks now."""

    house: House
    caller: Caller
    offer: Offer
    rules: Mapping[str, Any]
    traceparent: str | None = field(default_factory=tracing.traceparent)


async def terms(house: House, caller: Caller) -> Terms:
    """Return today's terms."""
    return Terms(house, caller, await offering.offer(house), await estimating.rules(house))


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What the new job was made of, and how."""

    retried_from: str | None = None
    remixed_from: str | None = None


def live_retry(conn: Connection, *, job_id: str, caller: Caller) -> Job | None:
    """Return the retry of the caller's job that is under way or succeeded, if there is one.

    The original's row is locked, so that two retries at the same moment make one job.
    """
    jobs.get(conn, job_id, owner=caller.owner, lock=True)
    return endings.live_retry(conn, job_id)


def retry(conn: Connection, new_id: str, *, job_id: str, accept_new_charge: bool, terms: Terms) -> Job:
    """Insert a job of the same request and return it; raise Conflict with what to do."""
    original = endings.retryable(conn, job_id, owner=terms.caller.owner, accept_new_charge=accept_new_charge)
    model = _same_model(original, offer=terms.offer)
    return _insert(
        conn, original, model, new_id=new_id, given=original.input, terms=terms, origin=Origin(retried_from=original.id)
    )


def remix(conn: Connection, new_id: str, *, job_id: str, prompt: str, terms: Terms) -> Job:
    """Insert a job of the same input with another prompt and return it.

    Raises Conflict with what to do, InvalidRequest for a prompt that a new job could not have either.
    """
    original = jobs.get(conn, job_id, owner=terms.caller.owner)
    model = _same_model(original, offer=terms.offer)
    given = model.check(original.input | {"prompt": prompt})
    if any(place.path == ("prompt",) for place in model.media_in(given)):
        raise InvalidRequest(
            "The new prompt is a file, not words. Send a file with a new job.", code="invalid_input", param="prompt"
        )
    orders.require_storable_size(given)
    return _insert(
        conn, original, model, new_id=new_id, given=given, terms=terms, origin=Origin(remixed_from=original.id)
    )


def _insert(
    conn: Connection, original: Job, model: Model, *, new_id: str, given: dict[str, Any], terms: Terms, origin: Origin
) -> Job:
    house, caller, now = terms.house, terms.caller, terms.house.db.now(conn)
    quoted = estimating.quote(model, given, rules=terms.rules)
    estimating.require_within(quoted, cap_micros=original.max_cost_micros, is_kept=True)
    named = sorted(files.references([place.value for place in model.media_in(given)]))
    kept = uploads.kept(conn, named, caller=caller, until=now + house.file_retention)
    if len(kept) < len(named):
        raise Conflict("The job's upload is no longer kept. Make a new job with the file.", code="input_expired")
    again = Job(
        id=new_id,
        project_id=original.project_id,
        key_id=caller.key.id,
        token_id=caller.token_id,
        subject=original.subject,
        model=model.id,
        input=given,
        metadata=original.metadata,
        priority=original.priority,
        upstream_path=model.path,
        max_cost_micros=original.max_cost_micros,
        estimated_micros=quoted.micros,
        estimate_basis=quoted.basis,
        reserved_micros=house.to_reserve(quoted),
        on_unconfirmed=original.on_unconfirmed,
        start_by=None if original.start_by is None else now + (original.start_by - original.created_at),
        webhook_url=original.webhook_url,
        traceparent=terms.traceparent,
        due_at=now,
        created_at=now,
        retried_from=origin.retried_from,
        remixed_from=origin.remixed_from,
        likeness=reusing.likeness_of(model, given, uploads.prints_of(kept)),
    )
    return jobs.insert(conn, again, file_ids=named)


def _same_model(original: Job, *, offer: Offer) -> Model:
    try:
        return offer.get(original.model)
    except UnknownModel:
        raise Conflict(f"The model {original.model!r} is no longer served.", code="model_gone") from None
