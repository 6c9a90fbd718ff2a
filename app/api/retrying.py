"""A new job made of an old one's request, in one transaction."""

from collections.abc import Mapping
from typing import Any

from app.api import estimating, uploads
from app.api.callers import Caller
from app.api.deps import House
from app.catalogue.catalogue import Catalogue, Model
from app.db import endings, files, jobs
from app.db.engine import Connection
from app.domain.errors import Conflict, UnknownModel
from app.domain.job import Job


def live_retry(conn: Connection, *, job_id: str, caller: Caller) -> Job | None:
    """Return the retry of the caller's job that is under way or succeeded, if there is one.

    The original's row is locked, so that two retries at the same moment make one job.
    """
    jobs.get(conn, job_id, owner=caller.owner, lock=True)
    return endings.live_retry(conn, job_id)


def retry(
    conn: Connection,
    *,
    job_id: str,
    new_id: str,
    accept_new_charge: bool,
    rules: Mapping[str, Any],
    house: House,
    caller: Caller,
) -> Job:
    """Make the new job and return it; raise Conflict with what to do."""
    original = endings.retryable(conn, job_id, owner=caller.owner, accept_new_charge=accept_new_charge)
    now = house.db.now(conn)
    model = _same_model(original, catalogue=house.catalogue)
    quoted = estimating.quote(model, original.input, rules=rules)
    estimating.require_within(quoted, cap_micros=original.max_cost_micros)
    named = sorted(files.references({name: original.input.get(name) for name in model.media_parameters}))
    if uploads.keep(conn, named, caller=caller, until=now + house.file_retention):
        raise Conflict("The job's image is no longer kept. Make a new job with the image.", code="input_expired")
    again = Job(
        id=new_id,
        project_id=original.project_id,
        key_id=caller.key.id,
        subject=original.subject,
        model=model.id,
        input=original.input,
        metadata=original.metadata,
        priority=original.priority,
        upstream_path=model.path,
        max_cost_micros=original.max_cost_micros,
        estimated_micros=quoted.micros,
        estimate_basis=quoted.basis,
        reserved_micros=house.to_reserve(quoted),
        on_unconfirmed=original.on_unconfirmed,
        start_by=None if original.start_by is None else now + (original.start_by - original.created_at),
        due_at=now,
        created_at=now,
        retried_from=original.id,
    )
    return jobs.insert(conn, again, file_ids=named)


def _same_model(original: Job, *, catalogue: Catalogue) -> Model:
    try:
        return catalogue.get(original.model)
    except UnknownModel:
        raise Conflict(f"The model {original.model!r} is no longer served.", code="model_gone") from None
