"""Read the upstream's account now and then, and book what it says differently from our ledger."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import structlog

from app.db import acts, audit_turn, auditing
from app.db.auditing import Expected, Owned
from app.db.engine import Connection, Database
from app.domain.actor import Actor
from app.domain.errors import FetchFailed, UpstreamFailure
from app.domain.transactions import Charge, Difference, Finding, by_generation
from app.upstream.client import UpstreamClient
from app.workers.loop import UpstreamDuty

log = structlog.get_logger()
T = TypeVar("T")
Compare = Callable[[Connection], list[Difference]]
Book = Callable[[Compare], Awaitable[list[Difference]]]
MOST_PAGES = 10_000
GROUP = 100
READ_GROUP = 5_000
EVERY = timedelta(hours=6)
"""How long after a check, of whichever worker, the next one is due."""
LOOK_BACK = timedelta(days=7)
MARGIN = timedelta(days=2)
"""So much more of the account is read: a charge may stand there from before we thought that it was bought."""
FEW = 10
"""At most one missing charge in so many is believed, or a single one. What an upstream reports and never charges is
rare; a great part missing means an account, a filter or a spelling that we misunderstand."""
CHARGED_AFTER = timedelta(hours=1)
"""A charge lands once its generation has ended: that much later than the request, at least, the first one may stand."""
EXAMPLES = 3


@dataclass(slots=True)
class Account:
    """What was read of the upstream's account."""

    movements: list[Charge] = field(default_factory=list)
    unreadable: list[str | None] = field(default_factory=list)
    """The generations of what could not be read; None where not even that was told."""

    def readable_charges(self) -> list[Charge]:
        """Return what each generation was charged in all, of those that could be read whole."""
        broken = {auditing.head_of(name) for name in self.unreadable if name is not None}
        charges = by_generation(self.movements).values()
        return [charge for charge in charges if auditing.head_of(charge.generation_id) not in broken]

    def shows(self) -> set[str]:
        """Return the generations that it names at all."""
        names = [*(charge.generation_id for charge in self.movements), *self.unreadable]
        return {auditing.head_of(name) for name in names if name is not None}


class Auditor(UpstreamDuty):
    """Checks the ledger of the last days, one worker at a time; a second check finds nothing more to book."""

    name = "audit"
    interval_seconds = 300.0
    """How often to look whether a check is due."""
    may_be_cut = True
    _is_first = True

    async def run_once(self) -> bool:
        """Check if it is due; not at the start, when there is enough to do."""
        if self._is_first:
            self._is_first = False
            return False
        if not await self._db.write(self._take_turn):
            return False
        since = await self._db.read(self._db.now) - LOOK_BACK
        try:
            found = await check(self._db, self._upstream, since=since)
        except UpstreamFailure as failure:
            log.warning("transactions_not_read", error=failure.message)
            return False
        _tell(found)
        await self._db.write(lambda conn: audit_turn.finish(conn, now=self._db.now(conn)))
        return False

    def _take_turn(self, conn: Connection) -> bool:
        return audit_turn.take(conn, now=self._db.now(conn), every=EVERY)


def _tell(found: list[Difference]) -> None:
    """Log what was booked, one by one, and in one line for each finding what was not: that comes again each time."""
    left: dict[Finding, list[str]] = {}
    for difference in found:
        if difference.booked:
            log.warning("ledger_differs", **asdict(difference))
        else:
            left.setdefault(difference.finding, []).append(difference.about)
    for finding, about in left.items():
        log.warning("ledger_differs", finding=finding, booked=False, count=len(about), examples=about[:EXAMPLES])


async def check(
    db: Database, upstream: UpstreamClient, *, since: datetime, by: Actor | None = None
) -> list[Difference]:
    """Compare our ledger since then with the account; book what it knows better and return every difference.

    What is booked is in the name of `by`; None is the service itself.

    Raises UpstreamFailure if the account could not be read to its end: half of it proves nothing.
    """
    book = partial(_book, db=db, by=by)
    account = await _read_account(upstream, since=since - MARGIN)
    found = [_unreadable(name) for name in account.unreadable]
    charges = [charge for charge in account.readable_charges() if charge.created_at >= since]
    for some in _groups(charges, READ_GROUP):
        differ, unknown = await db.read(partial(auditing.differing, charges=some))
        found += unknown
        for group in _groups(differ, GROUP):
            found += await book(partial(_correct, db=db, differ=group))
    found += await _look_for_missing(db, upstream, account, since=since, book=book)
    for project_id, month in await db.read(lambda conn: auditing.months_that_differ(conn, since)):
        found += await book(partial(_compare_entries, db=db, project_id=project_id, month=month))
        found += await book(partial(auditing.compare_sums, project_id=project_id, month=month))
    return found


async def _book(compare: Compare, *, db: Database, by: Actor | None) -> list[Difference]:
    """Run a comparison that books what differs; of each booking in somebody's name an act tells."""

    def run(conn: Connection) -> list[Difference]:
        found = compare(conn)
        for difference in found:
            if by is not None and difference.booked:
                told = {"finding": difference.finding}
                acts.note(conn, "ledger.corrected", target=difference.about, now=db.now(conn), data=told)
        return found

    return await db.write(run, by=by)


async def _read_account(upstream: UpstreamClient, *, since: datetime) -> Account:
    account = Account()
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await upstream.transactions(since=since, cursor=cursor)
        account.movements += [charge for charge in page.charges if charge.created_at >= since]
        account.unreadable += page.unreadable
        cursor = page.next_cursor
        if cursor is None or any(charge.created_at < since for charge in page.charges):
            return account
        await asyncio.sleep(0)
    raise FetchFailed(f"The account has more than {MOST_PAGES} pages of transactions. Look back less far.")


def _unreadable(name: str | None) -> Difference:
    about = name or "a charge that names no generation"
    return Difference(finding="unreadable_charge", about=about, ours_micros=0, theirs_micros=0, booked=False)


async def _look_for_missing(
    db: Database, upstream: UpstreamClient, account: Account, *, since: datetime, book: Book
) -> list[Difference]:
    """Take back what we charged and the account, long enough after, does not show; or only report it."""

    def expected(conn: Connection) -> list[Expected]:
        return auditing.charged_jobs(conn, start=since, now=db.now(conn), key_print=upstream.key_print)

    shown = account.shows()
    owed = await db.read(expected)
    missing = [one for one in owed if not one.names & shown]
    believed = _believed(account, [one for one in owed if one.names], [one for one in missing if one.names])
    found: list[Difference] = []
    for group in _groups(missing, GROUP):
        found += await book(partial(_take_back, db=db, group=group, believed=believed))
    return found


def _believed(account: Account, owed: list[Expected], missing: list[Expected]) -> set[str]:
    """Return the jobs of which the account really says that they were never charged.

    It says nothing of what is older than the oldest that it shows, nor while it shows something that nobody can place.
    """
    if not account.movements or None in account.unreadable or len(missing) > max(1, len(owed) // FEW):
        return set()
    oldest = min(charge.created_at for charge in account.movements)
    return {one.job_id for one in missing if one.bought_at >= oldest - CHARGED_AFTER}


def _correct(conn: Connection, *, db: Database, differ: Sequence[Owned]) -> list[Difference]:
    return auditing.correct(conn, differ, now=db.now(conn))


def _take_back(conn: Connection, *, db: Database, group: Sequence[Expected], believed: set[str]) -> list[Difference]:
    now = db.now(conn)
    return [
        difference
        for one in group
        for difference in auditing.take_back(conn, one.job_id, booked=one.job_id in believed, now=now)
    ]


def _compare_entries(conn: Connection, *, db: Database, project_id: str, month: str) -> list[Difference]:
    return auditing.compare_entries(conn, project_id=project_id, month=month, now=db.now(conn))


def _groups(rows: list[T], most: int) -> list[list[T]]:
    return [rows[begin : begin + most] for begin in range(0, len(rows), most)]
