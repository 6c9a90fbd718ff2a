"""Read the upstream's account now and then, and book what it says differently from our ledger."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import structlog

from app.db import auditing
from app.db.engine import Connection, Database
from app.domain.errors import FetchFailed, UpstreamFailure
from app.domain.transactions import Charge, Difference, by_generation
from app.upstream.client import UpstreamClient

log = structlog.get_logger()
T = TypeVar("T")
MOST_PAGES = 10_000
GROUP = 100
LOOK_BACK = timedelta(days=7)


class Auditor:
    """Checks the ledger of the last days. Every worker may: a second check finds nothing more to book."""

    name = "audit"
    topic: str | None = None
    may_be_cut = True

    def __init__(self, db: Database, upstream: UpstreamClient, *, interval_seconds: float = 6 * 3600.0) -> None:
        self._db = db
        self._upstream = upstream
        self.interval_seconds = interval_seconds
        self._is_first = True

    async def run_once(self) -> bool:
        """Check once; not at the start, when there is enough to do."""
        if self._is_first:
            self._is_first = False
            return False
        since = await self._db.read(self._db.now) - LOOK_BACK
        try:
            found = await check(self._db, self._upstream, since=since)
        except UpstreamFailure as failure:
            log.warning("transactions_not_read", error=failure.message)
            return False
        for difference in found:
            log.warning("ledger_differs", **asdict(difference))
        return False

    async def drain(self) -> None:
        """Nothing is left under way between two rounds."""


async def check(db: Database, upstream: UpstreamClient, *, since: datetime) -> list[Difference]:
    """Compare our ledger since then with the account; book what it knows better and return every difference.

    Raises UpstreamFailure if the account could not be read to its end: half of it proves nothing.
    """
    charges = by_generation(await _read_account(upstream, since=since))
    found: list[Difference] = []
    for group in _groups(list(charges.values())):
        found += await db.write(partial(_compare_charges, db=db, charges=group))
    found += await _look_for_missing(db, upstream, charges, since=since)
    for project_id, month in await db.read(lambda conn: auditing.months_since(conn, since)):
        found += await db.write(partial(_compare_entries, db=db, project_id=project_id, month=month))
        found += await db.write(partial(auditing.compare_sums, project_id=project_id, month=month))
    return found


async def _read_account(upstream: UpstreamClient, *, since: datetime) -> list[Charge]:
    charges: list[Charge] = []
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await upstream.transactions(since=since, cursor=cursor)
        charges += [charge for charge in page.charges if charge.created_at >= since]
        cursor = page.next_cursor
        if cursor is None or any(charge.created_at < since for charge in page.charges):
            return charges
        await asyncio.sleep(0)
    raise FetchFailed(f"The account has more than {MOST_PAGES} pages of transactions. Look back less far.")


async def _look_for_missing(
    db: Database, upstream: UpstreamClient, charges: dict[str, Charge], *, since: datetime
) -> list[Difference]:
    """Take back what we charged and the account, long enough after, does not show."""

    def expected(conn: Connection) -> list[tuple[str, set[str]]]:
        return auditing.charged_jobs(conn, start=since, now=db.now(conn), key_print=upstream.key_print)

    shown = {auditing.head_of(name) for name in charges}
    missing = [job_id for job_id, names in await db.read(expected) if not names & shown]
    found: list[Difference] = []
    for group in _groups(missing):
        found += await db.write(partial(_take_back, db=db, job_ids=group))
    return found


def _compare_charges(conn: Connection, *, db: Database, charges: Sequence[Charge]) -> list[Difference]:
    return auditing.compare_charges(conn, charges, now=db.now(conn))


def _take_back(conn: Connection, *, db: Database, job_ids: Sequence[str]) -> list[Difference]:
    now = db.now(conn)
    return [difference for job_id in job_ids for difference in auditing.take_back(conn, job_id, now=now)]


def _compare_entries(conn: Connection, *, db: Database, project_id: str, month: str) -> list[Difference]:
    return auditing.compare_entries(conn, project_id=project_id, month=month, now=db.now(conn))


def _groups(rows: list[T]) -> list[list[T]]:
    return [rows[begin : begin + GROUP] for begin in range(0, len(rows), GROUP)]
