"""From a request to a committed job, whichever face it came through. Once the row is committed the answer is 2xx."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
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
    making,
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
from app.api.deps import House
from app.api.faces import Call, Face
from app.api.inserting import Placed
from app.api.intake import Intake
from app.api.making import Made, Taken
from app.api.multipart import Form
from app.api.offering import Offer
from app.api.orders import Order
from app.db import creations, jobs
from app.db.creations import Creation
from app.db.engine import Connection
from app.domain.errors import NotFound, Unavailable
from app.domain.ids import new_id
from app.domain.job import Job
from app.domain.money import Estimate

log = structlog.get_logger(__name__)


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
    make = partial(making.make, call=call, insert=partial(inserting.insert, job_id=job_id, placed=placed, copy=copy))
    if copy is None and inserting.is_plain(placed) and making.may_be_together(call):
        wish = making.Wish(call, make, partial(inserting.row, placed, job_id=job_id, prints={}))
        write = partial(call.house.wishes.add, wish, making.make_all)
    else:
        write = partial(call.house.db.write, make, by=call.caller.actor)
    try:
        return await _through(_commit(write, job_id=job_id, stored=stored, call=call))
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

    make = partial(making.make, call=call, insert=insert_new, live=live)
    write = partial(house.db.write, make, by=caller.actor)
    made = await _through(_commit(write, job_id=job_id, stored=[], call=call))
    return await _answer(made, call, seconds=waiting.preferred_seconds(request))


async def _through(commit: Coroutine[Any, Any, Made | Creation]) -> Made | Creation:
    """See a commit through, also when the server stops and cuts off what takes too long: it cannot be taken back."""
    task = asyncio.ensure_future(commit)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if (cut_off := asyncio.current_task()) is not None:
            cut_off.uncancel()  # or Python 3.11.2 takes the end of a later timeout for this cancelation
        return await task


async def _commit(
    write: Callable[[], Awaitable[Made | Creation]], *, job_id: str, stored: list[str], call: Call
) -> Made | Creation:
    """Run the transaction that makes the job, perhaps with others; unless it made it, the `stored` bytes are deleted.

    Returns what the idempotency key stood for already, if it did.
    """
    house = call.house
    try:
        made = await write()
    except Taken as taken:
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
