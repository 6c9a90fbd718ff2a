"""The one gate row: it serialises admission over all replicas and carries the hold on submissions."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db.tables import gate

OPEN: dict[str, datetime | str | int | None] = {
    "held_since": None,
    "held_until": None,
    "hold_reason": None,
    "hold_level": 0,
    "trial_out": False,
}


@dataclass(frozen=True, slots=True)
class Gate:
    """`held_until` is when the next trial may go; `hold_level` counts the holds in a row."""

    held_since: datetime | None
    held_until: datetime | None
    hold_reason: str | None
    hold_level: int


_READ = sa.select(gate.c.held_since, gate.c.held_until, gate.c.hold_reason, gate.c.hold_level).where(gate.c.id == 1)
_READ_LOCKED = _READ.with_for_update()


def read(conn: Connection, *, lock: bool = False) -> Gate:
    """Return the gate; `lock` makes every other admission wait until this transaction ends."""
    return Gate(*conn.execute(_READ_LOCKED if lock else _READ).one())


def hold(conn: Connection, *, now: datetime, until: datetime, reason: str) -> None:
    """Stop all submissions until then; holds in a row are counted."""
    values = {"held_since": now, "held_until": until, "hold_reason": reason, "trial_out": False}
    conn.execute(gate.update().values(**values, hold_level=gate.c.hold_level + 1))


def open_again(conn: Connection) -> None:
    """The upstream accepted: end the hold and the count."""
    conn.execute(gate.update().where(gate.c.hold_level > 0).values(**OPEN))


def end_trial(conn: Connection, *, now: datetime) -> None:
    """The trial was given back unsent: another may go at once."""
    conn.execute(gate.update().where(gate.c.held_until > now, gate.c.trial_out).values(held_until=now, trial_out=False))


def admit_trial(conn: Connection, *, now: datetime, pause: timedelta) -> None:
    """A hold is over and one job tries: everybody else waits `pause` more for what it hears."""
    conn.execute(gate.update().values(held_until=now + pause, trial_out=True))
