"""Endpoints of webhooks: where a project's events go, and the secrets that sign them."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import paging
from app.db.access import Key
from app.db.columns import insert_if_absent
from app.db.tables import attempts, deliveries, projects, webhooks
from app.domain.errors import Conflict, NotFound, PermissionDenied
from app.domain.ids import new_id
from app.domain.sealing import Sealer, Unsealable
from app.domain.webhooks import DEFAULT, FAILING_AT_MOST, OLD_SECRET_SIGNS, Delivery, Disabled, new_secret

MOST = 20
"""How many endpoints a project may have: each gets every event."""
T = webhooks.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An endpoint, or the project's default, which has no URL of its own. Secrets are sealed."""

    id: str
    project_id: str
    url: str | None
    events: list[str] | None
    """Those it gets; None for all."""
    subject: str | None
    """Whose jobs it hears of; None for everybody's."""
    key_id: str
    secret: str
    previous_secret: str | None = None
    previous_until: datetime | None = None
    """Until when the secret before this one signs as well."""
    created_at: datetime
    failing_since: datetime | None = None
    disabled_at: datetime | None = None
    disabled_reason: str | None = None

    def signing(self, sealer: Sealer, *, now: datetime) -> tuple[str, ...]:
        """Return the secrets that sign now, the newest first; raise Unsealable if the present one can't be read."""
        found = [sealer.open(self.secret)]
        if self.previous_secret is not None and self.previous_until is not None and now < self.previous_until:
            with suppress(Unsealable):
                found.append(sealer.open(self.previous_secret))
        return tuple(found)


_COLUMNS = [T[name] for name in Webhook.__dataclass_fields__]


def _as_webhook(row: Any) -> Webhook:
    return Webhook(**row._mapping)


def create(
    conn: Connection, key: Key, *, url: str, events: Sequence[str] | None, sealer: Sealer, now: datetime
) -> tuple[Webhook, str]:
    """Make an endpoint and return it with its secret. Raises Conflict for one too many."""
    # Several at once wait here for each other, so that they count what the others have made.
    conn.execute(sa.select(projects.c.id).where(projects.c.id == key.project_id).with_for_update())
    mine = sa.select(sa.func.count()).where(T.project_id == key.project_id, T.url.is_not(None))
    if conn.execute(mine).scalar_one() >= MOST:
        message = f"This project has {MOST} webhook endpoints, which is the most. Delete one."
        raise Conflict(message, code="too_many_webhooks")
    secret = new_secret()
    made = _new(key, url=url, events=events, subject=key.subject, secret=sealer.seal(secret), now=now)
    conn.execute(webhooks.insert(), _values(made))
    return made, secret


def default_of(conn: Connection, key: Key, *, sealer: Sealer, now: datetime) -> Webhook:
    """Return what stands for the URLs that the project's jobs bring along, made at the first call."""
    query = sa.select(*_COLUMNS).where(T.project_id == key.project_id, T.url.is_(None))
    if row := conn.execute(query).one_or_none():
        return _as_webhook(row)
    made = _new(key, url=None, events=None, subject=None, secret=sealer.seal(new_secret()), now=now)
    insert_if_absent(conn, webhooks, **_values(made))
    return _as_webhook(conn.execute(query).one())


def _new(
    key: Key, *, url: str | None, events: Sequence[str] | None, subject: str | None, secret: str, now: datetime
) -> Webhook:
    return Webhook(
        id=new_id("hook"),
        project_id=key.project_id,
        url=url,
        events=None if events is None else sorted(set(events)),
        subject=subject,
        key_id=key.id,
        secret=secret,
        created_at=now,
    )


def _values(made: Webhook) -> dict[str, Any]:
    return {name: getattr(made, name) for name in Webhook.__dataclass_fields__}


def get(conn: Connection, key: Key, webhook_id: str, *, lock: bool = False) -> Webhook:
    """Return the endpoint, if the key may see it; raise NotFound. `lock` keeps the row until the transaction ends."""
    query = sa.select(*_COLUMNS).where(T.id == webhook_id, T.url.is_not(None), *_within(key))
    row = conn.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise _not_found(webhook_id)
    return _as_webhook(row)


def named(conn: Connection, key: Key, name: str, *, lock: bool = False) -> Webhook:
    """Return the endpoint by its id, or the project's default by that word; raise NotFound."""
    if name != DEFAULT:
        return get(conn, key, name, lock=lock)
    query = sa.select(*_COLUMNS).where(T.project_id == key.project_id, T.url.is_(None))
    row = conn.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        message = "This project has no default secret yet. GET /v1/webhooks/default/secret makes it."
        raise NotFound(message)
    return _as_webhook(row)


def of_any_project(conn: Connection, webhook_id: str) -> Webhook:
    """Return an endpoint or a default by its id alone, locked, as only an operator may; raise NotFound."""
    row = conn.execute(sa.select(*_COLUMNS).where(T.id == webhook_id).with_for_update()).one_or_none()
    if row is None:
        raise _not_found(webhook_id)
    return _as_webhook(row)


def page(conn: Connection, key: Key, *, limit: int, after: str | None = None) -> tuple[list[Webhook], bool]:
    """Return the newest endpoints that the key may see, and whether there are more."""
    theirs = _within(key)
    query = sa.select(*_COLUMNS).where(T.url.is_not(None), *theirs)
    found, has_more = paging.page(conn, query, by=T.id, limit=limit, after=after, among=theirs)
    return [_as_webhook(row) for row in found], has_more


def _within(key: Key) -> list[sa.ColumnElement[bool]]:
    mine: list[sa.ColumnElement[bool]] = [T.project_id == key.project_id]
    return mine if key.subject is None else [*mine, T.subject == key.subject]


def _not_found(webhook_id: str) -> NotFound:
    return NotFound(f"There is no webhook {webhook_id[:80]!r} here. Check the id and the key's project.")


def update(conn: Connection, key: Key, webhook_id: str, *, enabled: bool | None, now: datetime, **to: Any) -> Webhook:
    """Change URL or events, and disable the endpoint or enable it anew; raise NotFound.

    What was owed when it is disabled is not sent any more.
    """
    found = get(conn, key, webhook_id, lock=True)
    if to:
        conn.execute(webhooks.update().where(T.id == found.id).values(**to))
    if enabled is True:
        fresh = {"disabled_at": None, "disabled_reason": None, "failing_since": None}
        conn.execute(webhooks.update().where(T.id == found.id).values(**fresh))
    if enabled is False and found.disabled_at is None:
        disable(conn, found.id, reason=Disabled.BY_REQUEST, now=now)
    return get(conn, key, webhook_id)


def disable(conn: Connection, webhook_id: str, *, reason: Disabled, now: datetime) -> bool:
    """Send nothing more there, and give up what is owed; False if it was disabled already."""
    still = webhooks.update().where(T.id == webhook_id, T.disabled_at.is_(None))
    if conn.execute(still.values(disabled_at=now, disabled_reason=reason)).rowcount == 0:
        return False
    # What is being sent right now ends as it may.
    idle = (deliveries.c.state == Delivery.OWED, deliveries.c.lease_token.is_(None))
    owed = deliveries.update().where(deliveries.c.webhook_id == webhook_id, *idle)
    conn.execute(owed.values(state=Delivery.FAILED, finished_at=now))
    return True


def note_success(conn: Connection, hook: Webhook) -> None:
    """Something got through: whatever failed before, it is well."""
    conn.execute(webhooks.update().where(T.id == hook.id, T.failing_since.is_not(None)).values(failing_since=None))


def note_failure(conn: Connection, hook: Webhook, *, now: datetime) -> Disabled | None:
    """Nothing got through. Disable the endpoint if that has been so for days; return why, if it is so now."""
    query = sa.select(T.failing_since).where(T.id == hook.id)
    since = conn.execute(query).scalar_one_or_none()
    if since is None:
        conn.execute(webhooks.update().where(T.id == hook.id, T.failing_since.is_(None)).values(failing_since=now))
    elif now - since >= FAILING_AT_MOST and disable(conn, hook.id, reason=Disabled.FAILING, now=now):
        return Disabled.FAILING
    return None


def is_disabled(conn: Connection, hook: Webhook) -> bool:
    """Tell whether it was disabled by now."""
    return conn.execute(sa.select(T.id).where(T.id == hook.id, T.disabled_at.is_not(None))).first() is not None


def delete(conn: Connection, key: Key, webhook_id: str) -> None:
    """Forget the endpoint and all that was or is to be sent there; raise NotFound."""
    found = get(conn, key, webhook_id, lock=True)
    sent = sa.select(deliveries.c.id).where(deliveries.c.webhook_id == found.id)
    conn.execute(attempts.delete().where(attempts.c.delivery_id.in_(sent)))
    conn.execute(deliveries.delete().where(deliveries.c.webhook_id == found.id))
    conn.execute(webhooks.delete().where(T.id == found.id))


def rotate(conn: Connection, key: Key, name: str, *, sealer: Sealer, now: datetime) -> tuple[Webhook, str]:
    """Give the endpoint, or the default, another secret and return both; the one before signs for a while as well."""
    found = named(conn, key, name, lock=True)
    if found.subject != key.subject and key.subject is not None:
        raise PermissionDenied("The project's default secret is not one subject's. Use a key without a subject.")
    secret, until = new_secret(), now + OLD_SECRET_SIGNS
    rotated = replace(found, secret=sealer.seal(secret), previous_secret=found.secret, previous_until=until)
    fresh = {name: getattr(rotated, name) for name in ("secret", "previous_secret", "previous_until")}
    conn.execute(webhooks.update().where(T.id == found.id).values(**fresh))
    return rotated, secret


def reseal(conn: Connection, sealer: Sealer) -> int:
    """Seal under the present signing secret what still lies under the one before it; return how many rows that were."""
    changed = 0
    for row in conn.execute(sa.select(T.id, T.secret, T.previous_secret).with_for_update()).all():
        held = {name: getattr(row, name) for name in ("secret", "previous_secret")}
        fresh = {name: sealer.resealed(sealed) for name, sealed in held.items() if sealed is not None}
        if to := {name: sealed for name, sealed in fresh.items() if sealed is not None}:
            conn.execute(webhooks.update().where(T.id == row.id).values(**to))
            changed += 1
    return changed


def unreadable(conn: Connection, sealer: Sealer) -> int:
    """Return how many secrets neither the present signing secret opens nor the one before it."""
    return sum(not sealer.opens(sealed) for sealed in conn.execute(sa.select(T.secret)).scalars())


def ailing(conn: Connection, *, reasons: Collection[str]) -> list[Webhook]:
    """Return endpoints of every project that were disabled for one of these reasons."""
    query = sa.select(*_COLUMNS).where(T.disabled_reason.in_(sorted(reasons))).order_by(T.id)
    return [_as_webhook(row) for row in conn.execute(query)]
