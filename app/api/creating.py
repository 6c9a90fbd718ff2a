"""POST /v1/jobs and POST /v1/jobs/{id}/retry: the ways to a new job. Once its row is committed the answer is 2xx."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from app.api import asking, describing, estimating, orders, retrying, showing, uploads, waiting, wire
from app.api.callers import Caller
from app.api.deps import Creator, House, HouseDep, require_open
from app.api.orders import Order
from app.api.schemas import RetryRequest, checked
from app.api.uploads import Intake
from app.db import creations, files, jobs, ledger, queue
from app.db.creations import Asked, Creation
from app.db.engine import Connection
from app.domain.errors import NotFound, Unavailable
from app.domain.ids import new_id
from app.domain.job import Job, Priority
from app.domain.money import Estimate
from app.domain.views import JobView, Waiting, render_job

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@dataclass(frozen=True, slots=True)
class Made:
    """A committed job as it is to be told of."""

    job: Job
    view: JobView
    answer: str | None = None
    """The view as it was stored for whoever asks again, where the request has an idempotency key."""
    status: int = 201
    is_replay: bool = False


class _Taken(Exception):
    """The idempotency key stands for something already: nothing of this transaction may stay."""

    def __init__(self, known: Creation) -> None:
        super().__init__()
        self.known = known


@router.post(
    "",
    status_code=201,
    summary="Make a video",
    response_model=JobView,
    responses=describing.answers(400, 401, 403, 410, 413, 415, 422, 503) | describing.AGAIN,
    openapi_extra=describing.JOB_BODY | describing.IDEMPOTENCY_KEY,
)
async def create_job(request: Request, caller: Creator, house: HouseDep) -> Response:
    """Queue a job. Everything is checked before anything is stored; nothing is bought before the answer.

    With `Prefer: wait=N` (1 to 60) the answer comes when the job is finished or N seconds are over.
    With `Idempotency-Key` the same request, sent again, gets the first answer again and makes no second job.
    """
    key = asking.idempotency_key(request)
    body = await wire.parse(request, cap=house.max_body_bytes)
    asked = asking.read(request, body, idempotency_key=key, caller=caller)
    if replay := await asking.replay(asked, house=house):
        return replay
    order = orders.order_of(body.content, catalogue=house.catalogue)
    quoted = estimating.quote(order.model, order.input, rules=await estimating.rules(house))
    estimating.require_within(quoted, cap_micros=estimating.cap_of(order.request.max_cost_usd))
    intake = Intake(house, order.attached)
    await intake.take(order)
    orders.require_storable_size(intake.input)
    await uploads.store_all(intake.uploads, store=house.store)
    job_id, stored = new_id("job"), [upload.storage_key for upload in intake.uploads]
    insert = partial(_insert, job_id=job_id, order=order, asked=asked, intake=intake, caller=caller, quoted=quoted)
    made = await _through(_commit(insert, job_id=job_id, stored=stored, house=house, caller=caller))
    return await _answer(made, asked=asked, house=house, caller=caller, seconds=waiting.preferred_seconds(request))


@router.post(
    "/{job_id}/retry",
    status_code=201,
    summary="Retry a failed or canceled job",
    response_model=JobView,
    responses=describing.answers(400, 401, 403, 404, 409, 410, 413, 415, 422, 503)
    | describing.AGAIN
    | describing.LIVE_RETRY,
    openapi_extra=describing.RETRY_BODY | describing.IDEMPOTENCY_KEY,
)
async def retry_job(job_id: str, request: Request, caller: Creator, house: HouseDep) -> Response:
    """Make a new job of the same request. Repeated, it returns the retry that is under way (200).

    With `Idempotency-Key` the same request gets the first answer again, also once that retry has failed.
    """
    key = asking.idempotency_key(request)
    body = await wire.parse_optional(request, cap=house.max_body_bytes)
    asked = asking.read(request, body, idempotency_key=key, caller=caller)
    if replay := await asking.replay(asked, house=house):
        return replay
    wish = checked(body.content, schema=RetryRequest, strict=True)
    rules, new_job_id = await estimating.rules(house), new_id("job")

    def retry(conn: Connection) -> Made | Creation:
        now = _serialised(conn, asked, house=house)
        live = retrying.live_retry(conn, job_id=job_id, caller=caller)
        if earlier := _earlier(conn, asked, now=now, house=house, caller=caller):
            return earlier
        if live:
            return Made(live, showing.show(conn, live, house=house, caller=caller), status=200)
        charge, again = wish.accept_new_charge, new_job_id
        job = retrying.retry(
            conn, job_id=job_id, new_id=again, accept_new_charge=charge, rules=rules, house=house, caller=caller
        )
        return _remembered(conn, job, asked=asked, house=house, caller=caller)

    made = await _through(_commit(retry, job_id=new_job_id, stored=[], house=house, caller=caller))
    return await _answer(made, asked=asked, house=house, caller=caller, seconds=waiting.preferred_seconds(request))


async def _through(commit: Coroutine[Any, Any, Made | Creation]) -> Made | Creation:
    """See a commit through, also when the server stops and cuts off what takes too long: it cannot be taken back."""
    task = asyncio.ensure_future(commit)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        return await task


async def _commit(
    make: Callable[[Connection], Made | Creation], *, job_id: str, stored: list[str], house: House, caller: Caller
) -> Made | Creation:
    """Run the transaction that makes the job; unless it made that one, the bytes `stored` for it are deleted again.

    Returns what the idempotency key stood for already, if it did.
    """
    try:
        made = await house.db.write(make)
    except _Taken as taken:
        made = taken.known
    except Unavailable:
        # The database may have committed and died before it said so: then the job is made, and must be answered.
        try:
            return await house.db.read(partial(_found, job_id=job_id, house=house, caller=caller))
        except NotFound:
            await uploads.discard(stored, store=house.store)
        except Unavailable:
            log.error("job_outcome_unknown", job_id=job_id, keys=stored)
        raise
    except Exception:
        await uploads.discard(stored, store=house.store)
        raise
    if isinstance(made, Creation) or made.job.id != job_id:
        await uploads.discard(stored, store=house.store)
    return made


def _found(conn: Connection, *, job_id: str, house: House, caller: Caller) -> Made:
    job = jobs.get(conn, job_id, owner=caller.owner)
    return Made(job, showing.show(conn, job, house=house, caller=caller), creations.answer_of(conn, job_id))


def _serialised(conn: Connection, asked: Asked, *, house: House) -> datetime:
    """Wait for those that ask the same without a key; return the time then."""
    if asked.idempotency_key is None:
        creations.serialise(conn, asked)
    return house.db.now(conn)


def _earlier(conn: Connection, asked: Asked, *, now: datetime, house: House, caller: Caller) -> Made | Creation | None:
    """Return what an earlier try of the same request made, if there was one."""
    if asked.idempotency_key is not None:
        return creations.find(conn, asked, now=now)
    made_id = creations.join(conn, asked, now=now, waited=asking.waited(asked))
    if made_id is None:
        return None
    job = jobs.get(conn, made_id, owner=caller.owner)
    return Made(job, showing.show(conn, job, house=house, caller=caller), is_replay=True)


def _remembered(conn: Connection, job: Job, *, asked: Asked, house: House, caller: Caller) -> Made:
    """Note what the new job was asked for with, and reserve what it may cost.

    Raises _Taken if somebody was faster with the same key, InsufficientQuota if the budget has no room.
    """
    found = queue.arrival(conn, job)
    require_open(is_archived=found.is_archived)
    waiting_for = Waiting(found.position, found.hold_reason)
    view = render_job(job, now=job.created_at, viewer=house.viewer(caller), waiting=waiting_for)
    answer = None if asked.idempotency_key is None else view.model_dump_json()
    if known := creations.remember(conn, asked, made_id=job.id, answer=answer, now=job.created_at):
        raise _Taken(known)
    ledger.reserve(conn, job)
    return Made(job, view, answer)


def _insert(
    conn: Connection, *, job_id: str, order: Order, asked: Asked, intake: Intake, caller: Caller, quoted: Estimate
) -> Made | Creation:
    house = intake.house
    now = _serialised(conn, asked, house=house)
    if earlier := _earlier(conn, asked, now=now, house=house, caller=caller):
        return earlier
    uploads.record(conn, intake, caller=caller, now=now)
    request, seconds = order.request, order.request.start_within_seconds
    job = jobs.insert(
        conn,
        Job(
            id=job_id,
            project_id=caller.key.project_id,
            key_id=caller.key.id,
            subject=caller.key.subject,
            model=order.model.id,
            input=intake.input,
            metadata=request.metadata,
            priority=Priority[request.priority.upper()],
            upstream_path=order.model.path,
            max_cost_micros=estimating.cap_of(request.max_cost_usd),
            estimated_micros=quoted.micros,
            estimate_basis=quoted.basis,
            reserved_micros=house.to_reserve(quoted),
            on_unconfirmed=request.on_unconfirmed,
            start_by=None if seconds is None else now + timedelta(seconds=seconds),
            due_at=now,
            created_at=now,
        ),
        file_ids=files.references({name: intake.input.get(name) for name in order.model.media_parameters}),
    )
    return _remembered(conn, job, asked=asked, house=house, caller=caller)


async def _answer(made: Made | Creation, *, asked: Asked, house: House, caller: Caller, seconds: int) -> Response:
    """Answer with a committed job, whatever happens: an error would make the client post, and pay, again."""
    if isinstance(made, Creation):
        return asking.again(made, asked)
    job, view = made.job, made.view
    headers = {"Location": f"/v1/jobs/{job.id}"} | waiting.applied(seconds)
    headers |= asking.REPLAYED if made.is_replay else {}
    try:
        if seconds:
            job, view = await waiting.until(waiting.ended, job_id=job.id, house=house, caller=caller, seconds=seconds)
        elif made.answer is not None:
            return showing.first_view(made.answer, headers=headers)
        return showing.answer(view, job, status=made.status, headers=headers)
    except Exception:
        log.exception("job_answer_failed", job_id=job.id)
        return JSONResponse(showing.at_least(job, house=house, caller=caller), status_code=made.status, headers=headers)
