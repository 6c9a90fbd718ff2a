"""Deliveries: claimed with a lease, fairly over projects and endpoints, and settled with the attempt."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, zip_longest
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import access, jobs
from app.db.access import Key
from app.db.tables import attempts, deliveries, webhooks
from app.db.webhooks import Webhook
from app.domain.job import Job
from app.domain.webhooks import LONGEST_PAUSE, Delivery

T, W = deliveries.c, webhooks.c
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """A delivery as its sender holds it: one event, one URL, the lease that fences it."""

    id: str
    token: str
    url: str
    webhook: Webhook
    event_id: str
    event_type: str
    event_at: datetime
    job: Job | None
    """As it is now; None for a test."""
    moment: dict[str, Any]
    tries: int
    link_key_id: str
    """The key in whose name links to the video are signed: one that works, if the project has one."""

    @property
    def job_id(self) -> str | None:
        return None if self.job is None else self.job.id

    @property
    def is_test(self) -> bool:
        return self.job is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try: when, how long, and how it ended. Nothing of the receiver's answer but its status."""

    started_at: datetime
    duration_seconds: float
    status_code: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """A delivery as its owner sees it."""

    id: str
    event_id: str
    event_type: str
    job_id: str | None
    state: Delivery
    due_at: datetime
    event_at: datetime
    finished_at: datetime | None
    attempts: list[Attempt]


def claim(
    conn: Connection,
    *,
    now: datetime,
    busy: Mapping[str, int],
    room: int,
    share: int,
    token: str,
    lease: timedelta,
    shuffle: Callable[[list[str]], None],
) -> list[Owed]:
    """Lease up to `room` due deliveries: one of each project in turn, in an order that `shuffle` decides.

    `busy` counts what the caller has in hand by endpoint. An endpoint gets `share` at once, one that fails only one:
    a receiver that is slow or dead holds up nobody else.
    """
    projects = _projects_due(conn, now=now)
    order = list(projects)
    shuffle(order)
    lanes = [_turns(_lanes(conn, projects[name], now=now, busy=busy, share=share)) for name in order]
    chosen = list(_turns(lanes))[:room]
    if not chosen:
        return []
    taken = deliveries.update().where(T.id.in_(sorted(chosen))).values(lease_token=token, due_at=now + lease)
    conn.execute(taken)
    return _owed(conn, chosen, token=token, now=now)


def _is_due(now: datetime) -> sa.ColumnElement[bool]:
    """What lies further ahead than the longest pause was written under another clock."""
    return sa.and_(T.state == sa.literal_column("'owed'"), sa.or_(T.due_at <= now, T.due_at > now + LONGEST_PAUSE))


def _may_go() -> sa.ColumnElement[bool]:
    """A disabled endpoint gets tests only."""
    return sa.or_(W.disabled_at.is_(None), T.job_id.is_(None))


def _projects_due(conn: Connection, *, now: datetime) -> dict[str, list[Any]]:
    """Return the endpoints to which something is due, by project: an index look-up for each endpoint."""
    due = sa.exists().where(T.webhook_id == W.id, _is_due(now), _may_go())
    found: dict[str, list[Any]] = {}
    for row in conn.execute(sa.select(W.id, W.project_id, W.failing_since, W.disabled_at).where(due).order_by(W.id)):
        found.setdefault(row.project_id, []).append(row)
    return found


def _lanes(
    conn: Connection, hooks: list[Any], *, now: datetime, busy: Mapping[str, int], share: int
) -> Iterator[list[str]]:
    for hook in hooks:
        free = (share if hook.failing_since is None else 1) - busy.get(hook.id, 0)
        if free > 0:
            mine = [T.webhook_id == hook.id, _is_due(now)]
            mine += [] if hook.disabled_at is None else [T.job_id.is_(None)]
            query = sa.select(T.id).where(*mine).order_by(T.due_at).limit(free).with_for_update(skip_locked=True)
            yield list(conn.execute(query).scalars())


def _turns(lanes: Iterable[Iterable[Item]]) -> list[Item]:
    """Return one of each lane in turn."""
    return [item for item in chain.from_iterable(zip_longest(*lanes)) if item is not None]


def _owed(conn: Connection, ids: list[str], *, token: str, now: datetime) -> list[Owed]:
    rows = conn.execute(sa.select(deliveries).where(T.id.in_(ids)).order_by(T.due_at, T.id)).all()
    hook_ids, job_ids = {row.webhook_id for row in rows}, {row.job_id for row in rows if row.job_id is not None}
    columns = [W[name] for name in Webhook.__dataclass_fields__]
    hooks = {row.id: Webhook(**row._mapping) for row in conn.execute(sa.select(*columns).where(W.id.in_(hook_ids)))}
    named = {job.id: job for job in jobs.with_ids(conn, job_ids)}
    keys = {project_id: access.list_keys(conn, project_id=project_id) for project_id in _with_videos(named.values())}
    found = []
    for row in rows:
        hook, job = hooks[row.webhook_id], named.get(row.job_id)
        found.append(
            Owed(
                id=row.id,
                token=token,
                url=row.url or hook.url or "",
                webhook=hook,
                event_id=row.event_id,
                event_type=row.event_type,
                event_at=row.event_at,
                job=job,
                moment=row.moment,
                tries=row.tries,
                link_key_id=_link_key(keys.get(hook.project_id, []), hook, job, now=now),
            )
        )
    return found


def _with_videos(found: Iterable[Job]) -> set[str]:
    return {job.project_id for job in found if job.video is not None}


def _link_key(keys: list[Key], hook: Webhook, job: Job | None, *, now: datetime) -> str:
    """Return whose links the receiver gets: that of who named the URL goes first, then the other's, then any.

    A client token's links would end with it, long before the last try.
    """
    if job is None:
        return hook.key_id
    usable = {key.id for key in keys if key.works_at(now) and key.may_read and key.subject in (None, job.subject)}
    named = [job.key_id or "", hook.key_id] if hook.url is None else [hook.key_id, job.key_id or ""]
    order = [*named, *sorted(usable)]
    return next((key_id for key_id in order if key_id in usable), hook.key_id)


def settle(conn: Connection, owed: Owed, attempt: Attempt, *, delivered: bool, due_at: datetime | None) -> bool:
    """Note the attempt, and what follows; False if the delivery is not the caller's any more.

    `due_at` is when it is tried again if it is not `delivered`; None gives up.
    """
    ended = delivered or due_at is None
    values: dict[str, Any] = {"lease_token": None, "tries": T.tries + 1, "attempts": T.attempts + 1}
    if ended:
        state = Delivery.DELIVERED if delivered else Delivery.FAILED
        values |= {"state": state, "finished_at": attempt.started_at}
    else:
        values |= {"due_at": due_at}
    mine = deliveries.update().where(T.id == owed.id, T.lease_token == owed.token)
    number = conn.execute(mine.values(**values).returning(T.attempts)).scalar_one_or_none()
    if number is None:
        return False
    told = {name: getattr(attempt, name) for name in Attempt.__dataclass_fields__}
    conn.execute(attempts.insert(), {"delivery_id": owed.id, "n": number} | told)
    return True


def put_back(conn: Connection, owed: Owed, *, now: datetime) -> None:
    """Let another worker send it at once: this one stops."""
    conn.execute(
        deliveries.update().where(T.id == owed.id, T.lease_token == owed.token).values(lease_token=None, due_at=now)
    )
