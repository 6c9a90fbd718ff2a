"""The transactions that make jobs: one by itself, whatever it is, and plain ones together, in as few statements."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from app.api import asking, showing
from app.api.deps import require_allowed, require_open, unauthenticated
from app.api.faces import Call
from app.db import creations, crowds, jobs, ledger, queue, tokens
from app.db.creations import Creation
from app.db.engine import Connection
from app.domain.ids import new_id
from app.domain.job import Job
from app.domain.states import JobState
from app.domain.views import JobView, Waiting, render_job


@dataclass(frozen=True, slots=True)
class Made:
    """A committed job as it is to be told of."""

    job: Job
    view: JobView
    answer: str | None = None
    """What is stored for whoever asks again, where the request has an idempotency key; empty for an ended job."""
    status: int | None = None
    is_replay: bool = False


class Taken(Exception):
    """The idempotency key stands for something already: nothing of this transaction may stay."""

    def __init__(self, known: Creation) -> None:
        super().__init__()
        self.known = known


class _NotTogether(Exception):
    """One of those that were to be made together has to be made by itself."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A job that can be made beside others. Nothing but its own row has to be written or looked at for it."""

    call: Call
    alone: Callable[[Connection], Made | Creation]
    """Makes it by itself."""
    row: Callable[[datetime], Job]
    """Returns it as it is written at that moment."""


def may_be_together(call: Call) -> bool:
    """Tell whether the request is no retry that could mean a job which is there already."""
    return call.asked.idempotency_key is not None or call.asked.retry_count == 0


async def make_all(wishes: Sequence[Wish]) -> list[Made | Creation]:
    """Make the jobs in one transaction; a single one as if it had never waited for others."""
    db, first = wishes[0].call.house.db, wishes[0]
    if len(wishes) == 1:
        return [await db.write(first.alone, by=first.call.caller.actor)]
    return await db.write(partial(_make_all, wishes=wishes))


def _make_all(conn: Connection, *, wishes: Sequence[Wish]) -> list[Made | Creation]:
    """The transaction of many: whatever hinders one of them undoes all, and each is made by itself."""
    asked = [wish.call.asked for wish in wishes]
    keyless = [one for one in asked if one.idempotency_key is None]
    creations.serialise(conn, *keyless)
    now = wishes[0].call.house.db.now(conn)
    if creations.may_join(conn, keyless, now=now, waited=max(map(asking.waited, asked))):
        raise _NotTogether
    new = [wish.row(now) for wish in wishes]
    crowds.insert_all(conn, [(job, wish.call.caller.actor) for job, wish in zip(new, wishes, strict=True)])
    return list(_remembered(conn, [(job, wish.call) for job, wish in zip(new, wishes, strict=True)]))


def make(
    conn: Connection,
    *,
    call: Call,
    insert: Callable[[Connection, datetime], Job],
    live: Callable[[Connection], Job | None] = lambda _conn: None,
) -> Made | Creation:
    """The transaction of one: find what an earlier try of the same request made, else make it."""
    asked = call.asked
    if asked.idempotency_key is None:
        creations.serialise(conn, asked)
    now = call.house.db.now(conn)
    under_way = live(conn)
    if earlier := _earlier(conn, call, now=now):
        return earlier
    if under_way:
        return _echoed(conn, under_way, call, now=now)
    return _remembered(conn, [(insert(conn, now), call)])[0]


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


def _remembered(conn: Connection, new: Sequence[tuple[Job, Call]]) -> list[Made]:
    """Note what the new jobs were asked for with, and reserve what they may cost.

    Raises Taken if somebody was faster with the same key, InsufficientQuota if the budget or the token has no room.
    """
    found = queue.arrivals(conn, [job for job, _ in new])
    made = [_welcomed(job, call, arrival) for (job, call), arrival in zip(new, found, strict=True)]
    now = new[0][0].created_at
    asked = [(call.asked, one.job.id, one.answer) for (_, call), one in zip(new, made, strict=True)]
    if known := creations.remember_all(conn, asked, now=now):
        raise Taken(known)
    if bought := [job for job, _ in new if job.reused_from is None]:
        ledger.reserve(conn, *bought)
    for job in sorted((job for job, _ in new if job.token_id is not None), key=lambda job: job.token_id or ""):
        tokens.spend(conn, job, now=now)
    return made


def _welcomed(job: Job, call: Call, found: queue.Arrival) -> Made:
    """Return the job as it is told of, if its project and its key still let it be made."""
    require_open(is_archived=found.is_archived)
    require_allowed(job.model, found.allowed_models)
    if found.is_revoked or not call.caller.key.works_at(job.created_at):
        raise unauthenticated("This key was revoked or has expired.")
    waiting = Waiting(found.position, found.hold_reason) if job.state is JobState.QUEUED else None
    view = render_job(job, now=job.created_at, viewer=call.house.viewer(call.caller), waiting=waiting)
    return Made(job, view, None if call.asked.idempotency_key is None else _stored(job, view, call))
