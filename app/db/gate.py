"""The one gate row: it serialises admission over all replicas and carries what holds submissions, and their pace."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db.signals import SUBMIT, announce
from app.db.tables import gate, model_holds
from app.domain.pacing import Pace

OPEN: dict[str, Any] = {
    "held_since": None,
    "held_until": None,
    "hold_reason": None,
    "hold_level": 0,
    "trial_out": False,
    "probe_first": False,
    "needed_micros": None,
    "doubts": 0,
}
PAUSED = "paused_by_operator"
"""Why jobs wait while an operator lets nothing go. No hold: what the upstream says neither makes nor ends it."""


@dataclass(frozen=True, slots=True)
class Gate:
    """How submissions stand.

    `held_until` is when the next trial may go, or the next probe where one must come first; `hold_level` counts the
    holds in a row, `doubts` the submissions in a row whose outcome nobody knows.
    """

    held_since: datetime | None
    held_until: datetime | None
    hold_reason: str | None
    hold_level: int
    probe_first: bool
    needed_micros: int | None
    doubts: int
    pace_per_minute: float | None
    next_admission_at: datetime | None
    paused_at: datetime | None
    paused_by: str | None
    pause_reason: str | None
    balance_micros: int | None
    balance_at: datetime | None
    """When the account was last looked at; what it said may have been nothing."""

    @property
    def reason(self) -> str | None:
        """Why nothing is submitted; None if nothing stands in the way."""
        return self.hold_reason if self.paused_at is None else PAUSED

    @property
    def is_untroubled(self) -> bool:
        """Whether a submission that went well would change nothing here."""
        return not self.hold_level and not self.doubts and self.pace_per_minute is None

    def asked_since_hold(self, prepared_at: datetime) -> bool:
        """Tell whether a submission is news to the hold: those that left together fail together."""
        return self.held_since is None or prepared_at > self.held_since


@dataclass(frozen=True, slots=True)
class ModelHold:
    """The hold on one model's submissions, as the gate's is on all."""

    model: str
    held_since: datetime
    held_until: datetime
    reason: str
    level: int


_COLUMNS = [gate.c[name] for name in Gate.__dataclass_fields__]
_READ = sa.select(*_COLUMNS).where(gate.c.id == 1)
_READ_LOCKED = _READ.with_for_update()
_UNLOCKED = sa.select(gate.c.id).with_for_update(skip_locked=True)
_MODELS = sa.select(*(model_holds.c[name] for name in ModelHold.__dataclass_fields__))
REASON = sa.case((gate.c.paused_at.is_not(None), PAUSED), else_=gate.c.hold_reason)
"""`Gate.reason`, for statements that read the gate beside other things."""
_REASONS = sa.select(REASON.label("for_all"), model_holds.c.model, model_holds.c.reason).select_from(
    gate.outerjoin(model_holds, sa.true())
)


def read(conn: Connection, *, lock: bool = False) -> Gate:
    """Return the gate; `lock` makes every other admission wait until this transaction ends."""
    return Gate(*conn.execute(_READ_LOCKED if lock else _READ).one())


def reasons(conn: Connection) -> tuple[str | None, dict[str, str]]:
    """Return why all submissions hold, if they do, and why those of single models do, by model."""
    rows = conn.execute(_REASONS).all()
    return rows[0].for_all, {row.model: row.reason for row in rows if row.model is not None}


def pause(conn: Connection, *, by: str, reason: str | None, now: datetime) -> bool:
    """Let nothing be submitted until `resume`; False if it is paused already, by whoever was first."""
    still_open = gate.update().where(gate.c.paused_at.is_(None))
    return conn.execute(still_open.values(paused_at=now, paused_by=by, pause_reason=reason)).rowcount == 1


def resume(conn: Connection) -> None:
    """End the pause and every hold, and submit again at full pace, as if the upstream had said that all is well."""
    read(conn, lock=True)
    conn.execute(gate.update().values(paused_at=None, paused_by=None, pause_reason=None))
    open_again(conn)
    release_model(conn)
    set_pace(conn, Pace())
    announce(conn, SUBMIT)


def hold(
    conn: Connection,
    *,
    now: datetime,
    until: datetime,
    reason: str,
    probe_first: bool = False,
    needed_micros: int | None = None,
) -> None:
    """Stop all submissions until then; holds in a row are counted.

    With `probe_first` a free call must succeed before one job tries, and the balance cover `needed_micros`.
    """
    values = {"held_since": now, "held_until": until, "hold_reason": reason, "trial_out": False}
    probe = {"probe_first": probe_first, "needed_micros": needed_micros}
    conn.execute(gate.update().values(**values, **probe, hold_level=gate.c.hold_level + 1))


def open_again(conn: Connection) -> None:
    """The upstream accepted, or an operator says so: end the hold and the counts."""
    opened = conn.execute(gate.update().where(sa.or_(gate.c.hold_level > 0, gate.c.doubts > 0)).values(**OPEN))
    if opened.rowcount:
        announce(conn, SUBMIT)


def doubt(conn: Connection) -> None:
    """Count one more submission whose outcome nobody knows."""
    conn.execute(gate.update().values(doubts=gate.c.doubts + 1))


def claim_probe(conn: Connection, *, now: datetime, pause: timedelta) -> Gate | None:
    """Take the probe that is due, so that no other replica asks meanwhile; None if none is."""
    held = read(conn, lock=True)
    if held.held_until is None or not held.probe_first or held.held_until > now:
        return None
    conn.execute(gate.update().values(held_until=now + pause))
    return held


def let_one_try(conn: Connection, *, now: datetime) -> None:
    """The probe went well: one job may try at once. What it hears ends the hold, or makes it longer."""
    conn.execute(gate.update().where(gate.c.probe_first).values(held_until=now, probe_first=False, needed_micros=None))
    announce(conn, SUBMIT)


def put_off_probe(conn: Connection, *, until: datetime, reason: str) -> None:
    """The probe failed: hold on, and ask again later."""
    values = {"held_until": until, "hold_reason": reason, "hold_level": gate.c.hold_level + 1}
    conn.execute(gate.update().where(gate.c.probe_first).values(**values))


def end_trial(conn: Connection, model: str, *, now: datetime) -> None:
    """The trial was given back unsent: another may go at once."""
    conn.execute(gate.update().where(gate.c.held_until > now, gate.c.trial_out).values(held_until=now, trial_out=False))
    out = sa.and_(model_holds.c.model == model, model_holds.c.held_until > now, model_holds.c.trial_out)
    conn.execute(model_holds.update().where(out).values(held_until=now, trial_out=False))


def admit_trial(conn: Connection, *, now: datetime, pause: timedelta) -> None:
    """A hold is over and one job tries: everybody else waits `pause` more for what it hears."""
    conn.execute(gate.update().values(held_until=now + pause, trial_out=True))


def set_pace(conn: Connection, pace: Pace) -> None:
    """Admit at this pace from now on, over all replicas."""
    conn.execute(gate.update().values(pace_per_minute=pace.per_minute, next_admission_at=pace.next_at))


def held_models(conn: Connection) -> dict[str, ModelHold]:
    """Return the holds of single models, by model."""
    return {row.model: ModelHold(*row) for row in conn.execute(_MODELS)}


def hold_model(conn: Connection, model: str, *, now: datetime, until: datetime, reason: str, level: int) -> None:
    """Stop submissions of one model until then."""
    values = {"held_since": now, "held_until": until, "reason": reason, "level": level, "trial_out": False}
    conn.execute(model_holds.delete().where(model_holds.c.model == model))
    conn.execute(model_holds.insert().values(model=model, **values))


def admit_model_trials(conn: Connection, models: set[str], *, now: datetime, pause: timedelta) -> None:
    """One job of each of these held models tries: the others wait `pause` more for what it hears."""
    if models:
        tried = model_holds.update().where(model_holds.c.model.in_(sorted(models)))
        conn.execute(tried.values(held_until=now + pause, trial_out=True))


def release_model(conn: Connection, model: str | None = None) -> None:
    """End the hold of a model; without one, of all."""
    ended = model_holds.delete()
    if conn.execute(ended if model is None else ended.where(model_holds.c.model == model)).rowcount:
        announce(conn, SUBMIT)


def note_balance(conn: Connection, micros: int | None, *, now: datetime) -> None:
    """Keep what the account was last seen to hold; None where the upstream did not say.

    Not while somebody has the gate locked: another look comes, and nobody should wait for the gate without need.
    """
    if conn.execute(_UNLOCKED).first() is not None:
        conn.execute(gate.update().values(balance_micros=micros, balance_at=now))
