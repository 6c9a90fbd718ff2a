"""How long generations took, learned from the finished ones: of each model, and of each length of its videos."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db.columns import insert_if_absent
from app.db.tables import durations, durations_by_length
from app.domain.money import seconds_asked
from app.domain.pacing import Durations

ENOUGH = 3
"""From so many on, those of one length say more than all of the model's."""


class Learned:
    """What is known of every model."""

    def __init__(self, of_models: Mapping[str, Durations], of_lengths: Mapping[tuple[str, str | None], Durations]):
        self.of_models = of_models
        self._of_lengths = of_lengths

    def of(self, model: str, given: Mapping[str, Any]) -> Durations:
        """Return what a generation from this input is likely to take; the empty prior if nothing was seen."""
        of_length = self._of_lengths.get((model, _length(given)), Durations())
        return of_length if of_length.seen >= ENOUGH else self.of_models.get(model, of_length)


def read(conn: Connection, model: str, given: Mapping[str, Any]) -> Durations:
    """Return what a generation of the model from this input is likely to take."""
    return _read(conn, model=model).of(model, given)


def read_all(conn: Connection) -> Learned:
    """Return what was learned of every model."""
    return _read(conn)


def observe(conn: Connection, model: str, given: Mapping[str, Any], seconds: float) -> None:
    """Add one finished generation of the model from this input."""
    observe_all(conn, [(model, given, seconds)])


def observe_all(conn: Connection, finished: Iterable[tuple[str, Mapping[str, Any], float]]) -> None:
    """Add finished generations, each with its model, its input and its seconds; every row is written once."""
    of_models: defaultdict[str, list[float]] = defaultdict(list)
    of_lengths: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for model, given, seconds in finished:
        of_models[model].append(seconds)
        if (length := _length(given)) is not None:
            of_lengths[model, length].append(seconds)
    for model in sorted(of_models):
        _add(conn, durations, of_models[model], model=model)
    for model, length in sorted(of_lengths):
        _add(conn, durations_by_length, of_lengths[model, length], model=model, length=length)


def _add(conn: Connection, table: sa.Table, seen: list[float], **key: str) -> None:
    insert_if_absent(conn, table, **key, seen=0, mean_log=0.0, m2_log=0.0)
    grown = _durations(conn.execute(table.select().filter_by(**key).with_for_update()).one())
    for seconds in seen:
        grown = grown.observed(seconds)
    changed = {"seen": grown.seen, "mean_log": grown.mean_log, "m2_log": grown.m2_log}
    conn.execute(table.update().filter_by(**key).values(**changed))


def _read(conn: Connection, **key: str) -> Learned:
    of_models = conn.execute(durations.select().filter_by(**key))
    of_lengths = conn.execute(durations_by_length.select().filter_by(**key))
    return Learned(
        {row.model: _durations(row) for row in of_models},
        {(row.model, row.length): _durations(row) for row in of_lengths},
    )


def _durations(row: sa.Row[Any]) -> Durations:
    return Durations(row.seen, row.mean_log, row.m2_log)


def _length(given: Mapping[str, Any]) -> str | None:
    """Return the seconds of video asked for, as they are written in the table; None where the model decides."""
    seconds = seconds_asked(given)
    return None if seconds is None else f"{seconds.normalize():f}"
