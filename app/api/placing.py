"""From a request to a committed job, whichever face it came through. Once the row is committed the answer is 2xx."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import structlog
from fastapi import Request
from starlette.responses import JSONResponse, Response

from app.api import (
    asking,
    estimating,
    inserting,
    offering,
    orders,
    reusing,
    showing,
    traced,
    uploads,
    waiting,
    webhook_urls,
    wire,
)
from app.api.callers import Caller
from app.api.deps import House, require_allowed, require_open, unauthenticated
from app.api.faces import Call, Face
from app.api.inserting import Placed
from app.api.intake import Intake
from app.api.multipart import Form
from app.api.offering import Offer
from app.api.orders import Order
from app.db import creations, jobs, ledger, queue, tokens
from app.db.creations import Creation
from app.db.engine import Connection
from app.domain.errors import NotFound, Unavailable
from app.domain.ids import new_id
from app.domain.job import Job
from app.domain.money import Estimate
from app.domain.states import JobState
from app.domain.views import JobView, Waiting, render_job

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Made:
    """A committed job as it is to be told of."""

    job: Job
    view: JobView
    answer: str | None = None
    """What is stored for whoever asks again, where the request has an idempotency key; empty for an ended job."""
    status: int | None = None
    is_replay: bool = False


class _Taken(Exception):
    """The idempotency key stands for something already: nothing of this transaction may stay."""

    def __init__(self, known: Creation) -> None:
        super().__init__()
        self.known = known


@traced.creation
async def create(
    request: Request,
    *,
    caller: Caller,
    house: House,
    face: Face,
    read: Callable[[dict[str, Any] | Form, Offer], Order],
) -> Response:
    """Make the job that the request orders. Everything is checked before anything is stored."""
    key = asking.idempotency_key(request)
    body = await wire.parse(request, cap=house.max_body_bytes)
    call = Call(house, caller, asking.read(request, body.fingerprint, idempotency_key=key, caller=caller), face)
    if known := await asking.known(call.asked, house=house):
        return await _replayed(known, call)
    offer = await offering.offer(house)
    order = await wire.off_loop(body.size, lambda: read(body.content, offer))
    reusing.require_seed(order)
    webhook_urls.require_own(order.request.webhook_url, caller=caller, house=house)
    quoted = estimating.quote(order.model, order.input, rules=await estimating.rules(house))
    if not order.request.reuse:
        _require_within_cap(order, quoted)
    intake = Intake(house, order.attached)
    await intake.take(order)
    orders.require_storable_size(intake.input)
    made = await _place(Placed(order, intake, quoted, caller), call)
    return await _answer(made, call, seconds=waiting.preferred_seconds(request))


def _require_within_cap(order: Order, quoted: Estimate) -> None:
    estimating.require_within(quoted, cap_micros=estimating.cap_of(order.request.max_cost_usd))


async def _place(placed: Placed, call: Call) -> Made | Creation:
    """Store what the job needs and commit it."""
    job_id, store, stored = new_id("job"), call.house.store, list[str]()
    try:
        copy = await reusing.copied(placed.order, placed.intake, job_id=job_id, caller=call.caller)
        if copy is None:
            _require_within_cap(placed.order, placed.quoted)
        else:
            stored += copy.keys
        await uploads.store_all(placed.intake.uploads, store=store)
    except Exception:
        await uploads.discard(stored, store=store)
        raise
    stored += [upload.storage_key for upload in placed.intake.uploads]
    make = partial(_make, call=call, insert=partial(inserting.insert, job_id=job_id, placed=placed, copy=copy))
    try:
        return await _through(_commit(make, job_id=job_id, stored=stored, call=call))
    except reusing.Gone:
        return await _place(placed, call)


Insert = Callable[[Connection, str], Job]
"""Inserts a new job under the id it is given and returns it."""


@traced.creation
async def create_again(
    request: Request,
    *,
    caller: Caller,
    house: House,
    face: Face,
    prepare: Callable[[dict[str, Any]], Awaitable[Insert]],
    live: Callable[[Connection], Job | None] = lambda _conn: None,
) -> Response:
    """Make a job out of an older one, as `prepare` says for the body, unless `live` finds that there is one."""
    key = asking.idempotency_key(request)
    body = await wire.parse_optional(request, cap=house.max_body_bytes)
    call = Call(house, caller, asking.read(request, body.fingerprint, idempotency_key=key, caller=caller), face)
    if known := await asking.known(call.asked, house=house):
        return await _replayed(known, call)
    insert, job_id = await prepare(body.content), new_id("job")

    def insert_new(conn: Connection, _now: datetime) -> Job:
        return insert(conn, job_id)

    make = partial(_make, call=call, insert=insert_new, live=live)
    made = await _through(_commit(make, job_id=job_id, stored=[], call=call))
    return await _answer(made, call, seconds=waiting.preferred_seconds(request))


async def _through(commit: Coroutine[Any, Any, Made | Creation]) -> Made | Creation:
    """See a commit through, also when the server stops and cuts off what takes too long: it cannot be taken back."""
    task = asyncio.ensure_future(commit)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        return await task


async def _commit(
    make: Callable[[Connection], Made | Creation], *, job_id: str, stored: list[str], call: Call
) -> Made | Creation:
    """Run the transaction that makes the job; unless it made that one, the bytes `stored` for it are deleted again.

    Returns what the idempotency key stood for already, if it did.
    """
    house = call.house
    try:
        made = await house.db.write(make, by=call.caller.actor)
    except _Taken as taken:
        made = taken.known
    except Unavailable:
        # The database may have committed and died before it said so: then the job is made, and must be answered.
        try:
            return await house.db.read(partial(_found, job_id=job_id, call=call))
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


def _found(conn: Connection, *, job_id: str, call: Call) -> Made:
    job = jobs.get(conn, job_id, owner=call.caller.owner)
    view = showing.show(conn, job, house=call.house, caller=call.caller)
    return Made(job, view, creations.answer_of(conn, job_id))


def _make(
    conn: Connection,
    *,
    call: Call,
    insert: Callable[[Connection, datetime], Job],
    live: Callable[[Connection], Job | None] = lambda _conn: None,
) -> Made | Creation:
    """The transaction: find what an earlier try of the same request made, else make it."""
    asked = call.asked
    if asked.idempotency_key is None:
        creations.serialise(conn, asked)
    now = call.house.db.now(conn)
    under_way = live(conn)
    if earlier := _earlier(conn, call, now=now):
        return earlier
    if under_way:
        return _echoed(conn, under_way, call, now=now)
    return _remembered(conn, insert(conn, now), call)


def _earlier(conn: Connection, call: Call, *, now: datetime) -> Made | Creation | None:
    """Return what an earlier try of the same request made, if there was one."""
    asked = call.asked
    if asked.idempotency_key is not None:
        return creations.find(conn, asked, now=now)
    made_id = creations.join(conn, asked, now=now, waited=asking.waited(asked))
    if made_id is None:
        return None
    job = jobs.get(conn, made_id, owner=call.caller.owner)
    return Made(job, showing.show(conn, job, house=call.house, caller=call.caller), is_replay=True)


def _echoed(conn: Connection, job: Job, call: Call, *, now: datetime) -> Made | Creation:
    """Note, where the request has a key, that it stands for a job that another request had made."""
    view = showing.show(conn, job, house=call.house, caller=call.caller)
    if call.asked.idempotency_key is None:
        return Made(job, view, status=200)
    answer, own_id = _stored(job, view, call), new_id("echo")
    known = creations.remember(conn, call.asked, made_id=own_id, answer=answer, now=now, stands_for=job.id)
    return known or Made(job, view, answer, status=200)


def _stored(job: Job, view: JobView, call: Call) -> str:
    """Return what to store for whoever asks again: nothing of an ended job, which is told of as it stands.

    Links that are signed are so when they are sent, and stored nowhere.
    """
    if view.video is not None:
        return ""
    return call.face.body(job, view.model_copy(update={"events_url": view.events_url.partition("?")[0]}))


def _remembered(conn: Connection, job: Job, call: Call) -> Made:
    """Note what the new job was asked for with, and reserve what it may cost.

    Raises _Taken if somebody was faster with the same key, InsufficientQuota if the budget or the token has no room.
    """
    found = queue.arrival(conn, job)
    require_open(is_archived=found.is_archived)
    require_allowed(job.model, found.allowed_models)
    if found.is_revoked or not call.caller.key.works_at(job.created_at):
        raise unauthenticated("This key was revoked or has expired.")
    waiting_for = Waiting(found.position, found.hold_reason) if job.state is JobState.QUEUED else None
    view = render_job(job, now=job.created_at, viewer=call.house.viewer(call.caller), waiting=waiting_for)
    answer = None if call.asked.idempotency_key is None else _stored(job, view, call)
    if known := creations.remember(conn, call.asked, made_id=job.id, answer=answer, now=job.created_at):
        raise _Taken(known)
    if job.reused_from is None:
        ledger.reserve(conn, job)
    if job.token_id is not None:
        tokens.spend(conn, job, now=job.created_at)
    return Made(job, view, answer)


async def _replayed(known: Creation, call: Call) -> Response:
    body, status = asking.require_same(known, call.asked), 200 if known.is_echo else None
    headers = {"Location": call.face.location(known.made_id)} | asking.REPLAYED
    if body:
        return call.face.first(body, status=status, headers=headers)
    found = await call.house.db.read(partial(_found, job_id=known.made_id, call=call))
    return call.face.latest(found.job, found.view, status=status, headers=headers)


async def _answer(made: Made | Creation, call: Call, *, seconds: int) -> Response:
    """Answer with a committed job, whatever happens: an error would make the client post, and pay, again."""
    if isinstance(made, Creation):
        return await _replayed(made, call)
    job, view, house, caller = made.job, made.view, call.house, call.caller
    structlog.contextvars.bind_contextvars(job_id=job.id)  # for the access line: it ties the job to its request
    headers = {"Location": call.face.location(job.id)} | waiting.applied(seconds)
    headers |= asking.REPLAYED if made.is_replay else {}
    try:
        if seconds:
            job, view = await waiting.until(waiting.ended, job_id=job.id, house=house, caller=caller, seconds=seconds)
        elif made.answer:
            return call.face.first(made.answer, status=made.status, headers=headers)
        return call.face.latest(job, view, status=made.status, headers=headers)
    except Exception:
        log.exception("job_answer_failed", job_id=job.id)
        least = showing.at_least(job, house=house, caller=caller)
        return JSONResponse(least, status_code=made.status or 201, headers=headers)
