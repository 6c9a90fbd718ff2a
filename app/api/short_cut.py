"""A read of one job, answered from memory before the framework sees the request. What is not plain goes the long way.

The long way (`jobs.read_job`) decides what the answer is; this returns the same one, byte for byte, or none at all.
"""

from datetime import datetime

from starlette.types import Scope

from app.api import deps, showing
from app.api.callers import Caller
from app.api.deps import House
from app.api.remembered_jobs import Kept, Shown
from app.domain.errors import RateLimited
from app.domain.job import Job
from app.domain.signing import expiry
from app.domain.states import ENDED_FOR_CALLERS
from app.domain.views import render_job

PREFIX = "/v1/jobs/"
ROUTE = PREFIX + "{job_id}"
BEARER = b"Bearer "
DECISIVE = frozenset({b"if-none-match", b"prefer"})
"""Headers of which the long way makes another answer."""


def take(scope: Scope) -> Shown | None:
    """Return the answer to this request, which is counted then; None if it has to go the long way."""
    path = scope["path"]
    if scope["method"] != "GET" or scope["query_string"] or not path.startswith(PREFIX):
        return None
    house: House = scope["app"].state.house
    job_id = path[len(PREFIX) :]
    kept = house.remembered.find(job_id)
    if kept is None:
        return None
    caller = _caller(scope, house)
    if caller is None or not kept.seen_by(caller.owner):
        return None
    now = house.db.recent_now()
    shown = None if now is None else _shown(kept, house=house, caller=caller, now=now)
    if shown is None or not _counted(scope, house, caller):
        return None
    scope["path_params"] = {"job_id": job_id}
    return shown


def _caller(scope: Scope, house: House) -> Caller | None:
    """Return who calls, if it was seen lately, may read jobs, and may do so from anywhere."""
    secret = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            if secret is not None or not value.startswith(BEARER):
                return None
            secret = value[len(BEARER) :]
        elif name in DECISIVE:
            return None
    caller = None if secret is None else house.keys.known(secret.decode("latin-1"))
    if caller is None or not caller.key.may_read:
        return None
    return None if caller.token is not None and caller.token.origins is not None else caller


def _shown(kept: Kept, *, house: House, caller: Caller, now: datetime) -> Shown | None:
    """Return the job as `caller` sees it now."""
    reader = (caller.credential_id, caller.key.expires_at)
    shown = kept.answers.get(reader)
    if shown is not None and shown.expiry == expiry(now):
        return shown
    if kept.job is None:
        return None
    shown = _render(kept.job, house=house, caller=caller, now=now)
    if kept.job.state in ENDED_FOR_CALLERS:
        house.remembered.show(kept, reader, shown)
    return shown


def _render(job: Job, *, house: House, caller: Caller, now: datetime) -> Shown:
    response = showing.answer(render_job(job, now=now, viewer=house.viewer(caller)), job)
    return Shown(response.raw_headers, bytes(response.body), expiry(now))


def _counted(scope: Scope, house: House, caller: Caller) -> bool:
    """Count the request; False, and nothing is counted, for one that has to be refused."""
    if limits := deps.limits_of(caller):
        try:
            scope["state"]["rate_headers"] = house.rates.count(*limits)
        except RateLimited:
            return False
    return True
