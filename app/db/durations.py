"""How long generations took, learned from the finished ones: of each model, and of each length of its videos."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db.columns import insert_if_absent
from app.db.tables import durations
from app.domain.money import seconds_asked
from app.domain.pacing import Durations

ANY_LENGTH = ""
ENOUGH = 3
"""From so many on, those of one length say more than all of the model's."""
T = durations.c


class Learned:
    """What is known of some models."""

    def __init__(self, rows: Mapping[tuple[str, str], Durations]) -> None:
        self._rows = rows

    def of_model(self, model: str) -> Durations | None:
        """Return the durations over all lengths; None if nothing was seen."""
        return self._rows.get((model, ANY_LENGTH))

    def of(self, model: str, given: Mapping[str, Any]) -> Durations:
        """Return what a generation from this input is likely to take; the empty prior if nothing was seen."""
        of_length = self._rows.get((model, _length(given)), Durations())
        return of_length if of_length.seen >= ENOUGH else self.of_model(model) or of_length


def read(conn: Connection, model: str) -> Learned:
    """Return what was learned of one model."""
    return _read(conn, sa.select(durations).where(T.model == model))


def read_all(conn: Connection) -> Learned:
    """Return what was learned of every model."""
    return _read(conn, sa.select(durations))


def observe(conn: Connection, model: str, given: Mapping[str, Any], seconds: float) -> None:
    """Add one finished generation of the model from this input."""
    observe_all(conn, [(model, given, seconds)])


def observe_all(conn: Connection, finished: Iterable[tuple[str, Mapping[str, Any], float]]) -> None:
    """Add finished generations, each with its model, its input and its seconds; every row is written once."""
    seen: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for model, given, seconds in finished:
        for length in {ANY_LENGTH, _length(given)}:
            seen[model, length].append(seconds)
    for model, length in sorted(seen):
        insert_if_absent(conn, durations, model=model, length=length, seen=0, mean_log=0.0, m2_log=0.0)
        row = durations.select().where(T.model == model, T.length == length).with_for_update()
        grown = _durations(conn.execute(row).one())
        for seconds in seen[model, length]:
            grown = grown.observed(seconds)
        changed = durations.update().where(T.model == model, T.length == length)
        conn.execute(changed.values(seen=grown.seen, mean_log=grown.mean_log, m2_log=grown.m2_log))


def _read(conn: Connection, query: sa.Select[Any]) -> Learned:
    return Learned({(row.model, row.length): _durations(row) for row in conn.execute(query)})


def _durations(row: sa.Row[Any]) -> Durations:
    return Durations(row.seen, row.mean_log, row.m2_log)


def _length(given: Mapping[str, Any]) -> str:
    """Return the seconds of video asked for, as they are written in the table; empty where the model decides."""
    seconds = seconds_asked(given)
    return ANY_LENGTH if seconds is None else f"{seconds.normalize():f}"
