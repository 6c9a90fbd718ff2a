"""Timelines: what happened to a job, or in a project, in pages of JSON and live as Server-Sent Events."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from app.api import describing, feed, sse
from app.api.callers import Caller
from app.api.deps import Given, House, HouseDep, Reader
from app.api.feed import TooSlow
from app.api.replies import reply
from app.api.schemas import EventList
from app.api.visitors import Signed, let_in
from app.db import events, jobs, stream
from app.db.engine import Connection
from app.db.signals import job_topic
from app.domain.errors import InvalidRequest, NotFound, Unavailable
from app.domain.job import Event, Job
from app.domain.states import ENDED_FOR_CALLERS
from app.domain.views import EventView, render_entry, render_progress

router = APIRouter(prefix="/v1", tags=["events"])
HEARTBEAT_SECONDS = 15.0
After = Annotated[str | None, Query(max_length=100, description="The number or the id of an event.")]
Limit = Annotated[int, Query(ge=1, le=100)]
_ROUTE: dict[str, Any] = {"response_model": EventList, "openapi_extra": describing.LAST_EVENT_ID}


async def _visitor(
    *,
    job_id: str,
    request: Request,
    house: HouseDep,
    given: Given,
    signed: Signed,
    variant: Annotated[Literal["events"], Query(description="What a signed URL opens.")] = "events",
) -> Caller:
    return await let_in(request, house, given, signed, job_id=job_id, use=variant)


@router.get(
    "/jobs/{job_id}/events",
    summary="A job's timeline",
    responses=describing.answers(400, 401, 403, 404, 503) | describing.EVENTS | describing.NO_MORE_EVENTS,
    **_ROUTE,
)
async def list_events(
    *,
    job_id: str,
    request: Request,
    caller: Annotated[Caller, Depends(_visitor)],
    house: HouseDep,
    after: After = None,
    limit: Limit = 100,
) -> Response:
    """What happened to the job, in order. With `Accept: text/event-stream` live, until the job has ended.

    Live it is numbered within the job, `Last-Event-ID` goes on after an event, and `job.progress` comes in between.
    """
    live = sse.wanted(request)
    wanted = _last_event_id(request) or after if live else after

    def look(conn: Connection) -> tuple[Job, int, list[Event]]:
        job = jobs.get(conn, job_id, owner=caller.owner)
        number = _number(wanted, of_id=lambda id_: events.number_of(conn, job.id, id_))
        return job, number, events.of_job(conn, job.id, after=number, limit=limit + 1)

    job, number, found = await house.db.read(look)
    if not live:
        return _page(found, limit=limit)
    if not found and job.state in ENDED_FOR_CALLERS:
        return Response(status_code=204)  # which tells an EventSource not to come again
    house.feed.require_room(caller.credential_id)
    followed = _job_frames(job_id, after=number, caller=caller, house=house)
    return sse.EventStream(_attended(followed, caller=caller, house=house))


@router.get(
    "/events",
    summary="What happens in the project",
    responses=describing.answers(400, 401, 403, 503) | describing.EVENTS,
    **_ROUTE,
)
async def list_all_events(
    *, request: Request, caller: Reader, house: HouseDep, after: After = None, limit: Limit = 100
) -> Response:
    """The events of all jobs, in the order in which they came about. With `Accept: text/event-stream` live, for ever.

    Live it begins now, or goes on after `Last-Event-ID`. Nothing is left out and nothing told twice.
    """
    await feed.number_all(house.db)
    live = sse.wanted(request)
    wanted = _last_event_id(request) or after if live else after

    def place(conn: Connection) -> int:
        if live and wanted is None:
            return stream.last(conn)
        return _number(wanted, of_id=lambda id_: stream.place_of(conn, id_, owner=caller.owner))

    if live:
        house.feed.require_room(caller.credential_id)
        number = await house.db.read(place)
        followed = house.feed.follow(house.db, caller.owner, after=number, push=sse.push_of(request))
        return sse.EventStream(_attended(followed, caller=caller, house=house), after=number)

    def read(conn: Connection) -> list[Event]:
        return [found.event for found in stream.since(conn, place(conn), owner=caller.owner, limit=limit + 1)]

    return _page(await house.db.read(read), limit=limit)


def _page(found: list[Event], *, limit: int) -> Response:
    listed = EventList(data=[render_entry(event) for event in found[:limit]], has_more=len(found) > limit)
    return reply(listed.model_dump_json())


def _last_event_id(request: Request) -> str | None:
    return request.headers.get("last-event-id") or None


def _number(after: str | None, *, of_id: Callable[[str], int | None]) -> int:
    """Return the number that an event is named with; raise InvalidRequest if there is no such event."""
    if after is None:
        return 0
    if after.isascii() and after.isdecimal() and len(after) <= 18:
        return int(after)
    number = of_id(after[:100])
    if number is None:
        raise InvalidRequest(
            "There is no such event here. Use an id from this timeline.", code="invalid_cursor", param="after"
        )
    return number


async def _job_frames(job_id: str, *, after: int, caller: Caller, house: House) -> AsyncGenerator[bytes | None]:
    """Yield the frames of the job's events after `after` up to its last, its progress, and None every now and then."""

    def look(conn: Connection) -> tuple[Job, list[Event], Any]:
        job = jobs.get(conn, job_id, owner=caller.owner)
        return job, events.of_job(conn, job_id, after=after, limit=feed.PAGE), house.db.about_now(conn)

    told: EventView | None = None
    with house.db.signals.listen(job_topic(job_id)) as changed:
        while True:
            changed.clear()
            job, found, now = await house.db.read(look)
            looked = time.monotonic()
            for event in found:
                yield sse.frame(render_entry(event).model_dump_json(), event=event.type, id_=event.n)
                after = event.n
            if job.state in ENDED_FOR_CALLERS and len(found) < feed.PAGE:
                return
            while not changed.is_set() and (passed := time.monotonic() - looked) < feed.SAFETY_SECONDS:
                progress = render_progress(job, now=now + timedelta(seconds=passed))
                if told is None or progress.data != told.data:
                    yield sse.frame(progress.model_dump_json(), event=progress.type)
                    told = progress
                yield None
                await feed.within(feed.TICK_SECONDS, changed)


async def _attended(frames: AsyncGenerator[bytes | None], *, caller: Caller, house: House) -> AsyncIterator[bytes]:
    """Pass frames on until they end, this process stops or the credential ends; show in long silence that we live."""
    sent_at = time.monotonic()
    with house.feed.counted(caller.credential_id):
        async with aclosing(frames):
            try:
                async for sent in frames:
                    if sent is None:
                        if house.closing.is_set() or await _has_ended(caller, house=house):
                            return
                        if time.monotonic() - sent_at < HEARTBEAT_SECONDS:
                            continue
                    yield sse.HEARTBEAT if sent is None else sent
                    sent_at = time.monotonic()
            except (TooSlow, Unavailable, NotFound):
                return  # the reader comes again, goes on where it stopped, and hears what is the matter


async def _has_ended(caller: Caller, *, house: House) -> bool:
    """Tell whether the credential has ended. A sign-in does so by itself, before the key in whose name it came."""
    ends_at = caller.key.expires_at
    if ends_at is not None and datetime.now(UTC) >= ends_at:
        return True
    return await house.keys.by_id(house.db, caller.credential_id) is None
