"""After the torture: clean victims, an operator who ends the holds, and time until nothing moves any more."""

import time
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from app.db import tables
from app.db.jobs import IN_DOUBT
from app.domain.states import TERMINAL
from torture.house import House
from torture.table import Part
from torture.traffic import Traffic

JOBS, READER = tables.jobs, tables.log_reader
LONGEST_SECONDS = 300.0
LOOK_SECONDS = 0.5


def come_to_rest(part: Part, house: House, traffic: Traffic, *, seconds: float = LONGEST_SECONDS) -> None:
    """Let every job come to its end, and then the log be audited; note as broken what takes too long."""
    traffic.end()
    for victim in house.victims:
        victim.kill()
        victim.start()
    traffic.finish()
    deadline = time.monotonic() + seconds
    while (left := moving(house)) and time.monotonic() < deadline:
        traffic.resume()
        time.sleep(LOOK_SECONDS)
    part.require(not left, f"[{house.name}] still moving after {seconds:.0f} s: {left}")
    rested_at = datetime.now().astimezone() + timedelta(seconds=1)
    while not _audited_after(house, rested_at) and time.monotonic() < deadline + 30:
        time.sleep(LOOK_SECONDS)
    part.require(_audited_after(house, rested_at), f"[{house.name}] the log was not audited at the end")
    for victim in house.victims:
        part.require(victim.stop() < 10, f"[{house.name}] {victim.name} did not stop")


def moving(house: House) -> list[str]:
    """Return up to five jobs that are neither final nor visibly unconfirmed."""
    unresolved = sa.and_(*IN_DOUBT, JOBS.c.search_ended_at.is_not(None))
    query = sa.select(JOBS.c.id, JOBS.c.state).where(JOBS.c.state.not_in(sorted(TERMINAL)), sa.not_(unresolved))
    return [f"{row.id} {row.state}" for row in _read(house, query.limit(5))]


def _audited_after(house: House, moment: datetime) -> bool:
    [row] = _read(house, sa.select(READER.c.audited_at))
    return row.audited_at is not None and row.audited_at > moment


def _read(house: House, query: sa.Select[Any]) -> list[sa.Row[Any]]:
    engine = sa.create_engine(house.url)
    try:
        with engine.connect() as conn:
            return list(conn.execute(query))
    finally:
        engine.dispose()
