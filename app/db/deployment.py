"""What this database is: its deployment id, sandbox or real, the price list it holds and the workers that serve it."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db.columns import insert_if_absent
from app.db.tables import deployment, price_list, workers
from app.domain.listing import ListedModel

Mode = Literal["real", "sandbox"]


class ModeMismatch(Exception):
    """The database belongs to the other world: simulated jobs and paid ones never share one."""


def stamp(conn: Connection, *, mode: Mode, now: datetime) -> str:
    """Return the deployment id, made at the first start; raise ModeMismatch if the database has the other mode."""
    insert_if_absent(conn, deployment, id=1, deployment_id=secrets.token_hex(4), mode=mode, created_at=now)
    row = conn.execute(sa.select(deployment.c.deployment_id, deployment.c.mode)).one()
    if row.mode != mode:
        raise ModeMismatch(
            f"This database was made for {row.mode} jobs and Reelay was started for {mode} ones. "
            "Point REELAY_DATABASE_URL (or REELAY_DATA_DIR) at another one."
        )
    deployment_id: str = row.deployment_id
    return deployment_id


def beat(conn: Connection, worker: str, *, now: datetime) -> None:
    """Say that the worker lives, and forget those silent for a day."""
    changed = conn.execute(workers.update().where(workers.c.id == worker).values(beat_at=now))
    if changed.rowcount == 0:
        insert_if_absent(conn, workers, id=worker, started_at=now, beat_at=now)
    conn.execute(workers.delete().where(workers.c.beat_at < now - timedelta(days=1)))


def retire(conn: Connection, worker: str) -> None:
    """The worker ends in order."""
    conn.execute(workers.delete().where(workers.c.id == worker))


def last_beat(conn: Connection, *, host: str | None = None) -> datetime | None:
    """Return when a worker, or one of that host, last said that it lives. A worker's id begins with its host."""
    newest = sa.select(workers.c.beat_at).order_by(workers.c.beat_at.desc()).limit(1)
    if host is not None:
        newest = newest.where(workers.c.id.startswith(f"{host}:", autoescape=True))
    return conn.execute(newest).scalar_one_or_none()


def save_prices(
    conn: Connection,
    *,
    etag: str | None,
    rules: Mapping[str, Any] | None,
    models: Sequence[ListedModel] = (),
    now: datetime,
) -> None:
    """Keep the upstream's list of models and prices; `rules` None means that it has not changed."""
    if rules is None:
        conn.execute(price_list.update().values(fetched_at=now))
        return
    values = {"etag": etag, "fetched_at": now, "rules": rules, "models": [model.to_json() for model in models]}
    if not insert_if_absent(conn, price_list, id=1, **values):
        conn.execute(price_list.update().values(**values))


def read_prices(conn: Connection) -> tuple[str | None, dict[str, Any]]:
    """Return the price list's ETag and its rules by model; empty before the first was fetched."""
    row = conn.execute(sa.select(price_list.c.etag, price_list.c.rules)).one_or_none()
    return (None, {}) if row is None else (row.etag, row.rules)


def read_listing(conn: Connection) -> list[ListedModel] | None:
    """Return the models that the upstream lists; None before the first list was fetched."""
    found = conn.execute(sa.select(price_list.c.models)).scalar_one_or_none()
    return None if found is None else [ListedModel.from_json(model) for model in found]


def price_of(conn: Connection, model: str) -> Any:
    """Return the rule of one model as it is listed; None if there is none."""
    return conn.execute(sa.select(price_list.c.rules[model])).scalar_one_or_none()
