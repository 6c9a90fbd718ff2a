"""The ledger: an entry for what was spent, and the sums that caps are held against: by project and month, by token.

A job's own row says what it holds and what it cost. Whoever changes that goes through `jobs.advance` or `jobs.note`,
and `follow` books the difference, so that a report that comes twice changes nothing and the sums cannot drift.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from app.db import tokens
from app.db.columns import given_rows
from app.db.tables import ledger, months, projects
from app.domain.errors import InsufficientQuota
from app.domain.job import Job
from app.domain.money import micros_to_usd, month_of

T = TypeVar("T")
M = months.c
Kind = Literal["charge", "adjustment", "extra"]
ESTIMATE = "estimate"
MONEY = frozenset({"reserved_micros", "charged_micros", "extra_micros", "settled"})
"""The columns of a job that the ledger follows."""


@dataclass(frozen=True, slots=True)
class Month:
    """One project's month; without a budget there is no cap."""

    month: str
    budget_micros: int | None
    reserved_micros: int = 0
    spent_micros: int = 0

    @property
    def remaining_micros(self) -> int | None:
        """What is left; below zero after an overrun."""
        return None if self.budget_micros is None else self.budget_micros - self.reserved_micros - self.spent_micros


def reserve(conn: Connection, *new: Job) -> None:
    """Reserve what new jobs may cost in the months in which they were made: for all of them, or for none.

    Raises InsufficientQuota if there is no room. Call it late in the transaction: on Postgres the other new jobs of
    their projects wait for it until the commit.
    """
    wanted: dict[tuple[str, str], int] = {}
    for job in new:
        of = job.project_id, month_of(job.created_at)
        wanted[of] = wanted.get(of, 0) + job.reserved_micros
    took = _took(conn, wanted)
    for job in new:
        if (job.project_id, month_of(job.created_at)) not in took:
            raise InsufficientQuota(_no_room(conn, job), retry_after=_seconds_to_next_month(job.created_at))


def reserve_more(conn: Connection, job: Job, *, micros: int) -> bool:
    """Reserve so much more for a job, in its own month and of its token; False, and nothing is, if there is no room.

    The caller then writes it on the job's row, in the same transaction.
    """
    if not _took(conn, {(job.project_id, month_of(job.created_at)): micros}):
        return False
    _note_month(conn, job, held=-micros, spent=0)  # the row's change adds it; and if there is none, this takes it back
    if job.token_id is None:
        return True
    if not tokens.spend_more(conn, job.token_id, micros=micros):
        return False
    _note_token(conn, job.token_id, held=-micros, spent=0)
    return True


def read_month(conn: Connection, project_id: str, moment: datetime) -> Month:
    """Return how the project stands in the month of `moment`."""
    month = month_of(moment)
    row = conn.execute(_READ, {"project": project_id, "its_month": month}).one()
    return Month(month, row[0], row[1] or 0, row[2] or 0)


def month_in_all(conn: Connection, moment: datetime) -> Month:
    """Return how all projects together stand in the month of `moment`; the budget is that of those which have one."""
    month = month_of(moment)
    of_month = sa.select(*(sa.func.coalesce(sa.func.sum(M[name]), 0) for name in ("reserved_micros", "spent_micros")))
    held, spent = conn.execute(of_month.where(M.month == month)).one()
    budgets = sa.select(sa.func.sum(projects.c.monthly_budget_micros)).where(projects.c.archived_at.is_(None))
    budget = conn.execute(budgets).scalar_one()
    return Month(month, None if budget is None else int(budget), int(held), int(spent))


def follow(conn: Connection, before: Job | None, after: Job, *, data: dict[str, Any] | None, now: datetime) -> None:
    """Book what a change of the job's row means for money; `before` is the row as it was, if money may have changed.

    `told_by` in the event's data says who reported it; without it, it was the answer that this move is about. What is
    only estimated is booked as that, whoever says so.
    """
    if before is None:
        return
    source = (data or {}).get("told_by") or ("submission" if before.generation_id is None else "generation")
    told_by = ESTIMATE if after.charge_basis == "estimated" else source
    charged = (after.charged_micros or 0) - (before.charged_micros or 0)
    kind: Kind = "charge" if before.charged_micros is None else "adjustment"
    if charged:
        append(conn, after, kind=kind, source=told_by, micros=charged, now=now)
    if extra := after.extra_micros - before.extra_micros:
        append(conn, after, kind="extra", source=source, micros=extra, now=now)
    held, spent = after.held_micros - before.held_micros, after.spent_micros - before.spent_micros
    if held or spent:
        _note_month(conn, after, held=held, spent=spent)
        if after.token_id is not None:
            _note_token(conn, after.token_id, held=held, spent=spent)


def append(conn: Connection, job: Job, *, kind: Kind, source: str, micros: int, now: datetime) -> None:
    """Write an entry of the job's latest attempt. Another word of the same source goes into the entry it has."""
    _append(
        conn,
        project_id=job.project_id,
        month=month_of(job.created_at),
        job_id=job.id,
        submission=f"{job.id}:{job.attempts}",
        kind=kind,
        source=source,
        micros=micros,
        now=now,
    )


def append_stray(conn: Connection, generation_id: str, *, source: str, micros: int, now: datetime) -> None:
    """Write an entry of money that no job of ours carries, and so no project."""
    _append(
        conn,
        project_id=None,
        month=month_of(now),
        job_id=None,
        submission=generation_id,
        kind="extra",
        source=source,
        micros=micros,
        now=now,
    )


def booked(work: Callable[[Connection], T]) -> Callable[[Connection], T]:
    """Return `work`, after which the sums that it touched are brought up to date, each once, in order.

    So every transaction locks jobs first, then months, then tokens, in the order of their keys.
    """

    def run(conn: Connection) -> T:
        forget_noted(conn)
        result = work(conn)
        book_sums(conn)
        return result

    return run


def forget_noted(conn: Connection) -> None:
    """Begin anew: what an earlier transaction of this connection noted and did not book was undone with it."""
    conn.info.pop("months", None)
    conn.info.pop("tokens", None)


def book_sums(conn: Connection) -> None:
    """Bring the sums up to date with what was noted on this connection."""
    noted: dict[tuple[str, str], tuple[int, int]] = conn.info.pop("months", {})
    for (project_id, month), (held, spent) in sorted(noted.items()):
        if held or spent:
            row = {"project_id": project_id, "month": month, "reserved_micros": held, "spent_micros": spent}
            conn.execute(_ADD[conn.dialect.name], row)
    of_tokens: dict[str, tuple[int, int]] = conn.info.pop("tokens", {})
    for token_id, (held, spent) in sorted(of_tokens.items()):
        if held or spent:
            tokens.add(conn, token_id, held=held, spent=spent)


def _note_month(conn: Connection, job: Job, *, held: int, spent: int) -> None:
    _note(conn, "months", (job.project_id, month_of(job.created_at)), held=held, spent=spent)


def _note_token(conn: Connection, token_id: str, *, held: int, spent: int) -> None:
    _note(conn, "tokens", token_id, held=held, spent=spent)


def _note(conn: Connection, sums: str, of: Any, *, held: int, spent: int) -> None:
    noted = conn.info.setdefault(sums, {})
    before = noted.get(of, (0, 0))
    noted[of] = (before[0] + held, before[1] + spent)


def _took(conn: Connection, wanted: Mapping[tuple[str, str], int]) -> set[tuple[str, str]]:
    """Take so much of the budgets of these projects' months; return those that had room, of the others nothing."""
    rows = [{"project": of[0], "its_month": of[1], "more": micros} for of, micros in sorted(wanted.items())]
    return {(row.project_id, row.month) for row in conn.execute(_RESERVE[conn.dialect.name], {"rows": rows})}


def _no_room(conn: Connection, job: Job) -> str:
    month = read_month(conn, job.project_id, job.created_at)
    left = max(month.remaining_micros or 0, 0)
    return (
        f"This job reserves {micros_to_usd(job.reserved_micros)} USD, and {micros_to_usd(left)} USD are left of the "
        f"project's budget of {micros_to_usd(month.budget_micros or 0)} USD for {month.month}. "
        "Ask your operator for more, or wait for jobs to finish or for the next month."
    )


def _seconds_to_next_month(now: datetime) -> int:
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (first + timedelta(days=32)).replace(day=1)
    return max(1, round((following - now).total_seconds()))


def _append(conn: Connection, *, now: datetime, **row: Any) -> None:
    conn.execute(_APPEND[conn.dialect.name], row | {"created_at": now, "changed_at": now})


_READ = (
    sa.select(projects.c.monthly_budget_micros, M.reserved_micros, M.spent_micros)
    .select_from(
        projects.outerjoin(months, sa.and_(M.project_id == projects.c.id, M.month == sa.bindparam("its_month")))
    )
    .where(projects.c.id == sa.bindparam("project"))
)


def _reserve(dialect: str, insert: Any) -> Any:
    """Insert the months, or add to them, where the budget has room; one statement, so that no two take the same room.

    In the order of their keys, as everybody who locks several.
    """
    wanted = given_rows(dialect, project=sa.Text, its_month=sa.Text, more=sa.BigInteger)
    budget = projects.c.monthly_budget_micros
    first = (
        sa.select(projects.c.id, wanted.c.its_month, wanted.c.more, sa.literal(0, sa.BigInteger))
        .join_from(wanted, projects, projects.c.id == wanted.c.project)
        .where(sa.or_(budget.is_(None), budget >= wanted.c.more))
        .order_by(projects.c.id, wanted.c.its_month)
    )
    given = insert(months).from_select(["project_id", "month", "reserved_micros", "spent_micros"], first)
    # Spelled out: a column of the months would bring their whole table into this subquery.
    cap = sa.select(budget).where(projects.c.id == sa.literal_column("excluded.project_id")).scalar_subquery()
    taken = M.reserved_micros + M.spent_micros + given.excluded.reserved_micros
    return given.on_conflict_do_update(
        index_elements=[M.project_id, M.month],
        set_={"reserved_micros": M.reserved_micros + given.excluded.reserved_micros},
        where=sa.or_(cap.is_(None), taken <= cap),
    ).returning(M.project_id, M.month)


def _add(insert: Any) -> Any:
    given = insert(months)
    return given.on_conflict_do_update(
        index_elements=[M.project_id, M.month],
        set_={name: M[name] + given.excluded[name] for name in ("reserved_micros", "spent_micros")},
    )


def _written(insert: Any) -> Any:
    given = insert(ledger)
    return given.on_conflict_do_update(
        index_elements=[ledger.c.submission, ledger.c.kind, ledger.c.source],
        set_={"micros": ledger.c.micros + given.excluded.micros, "changed_at": given.excluded.changed_at},
    )


# Built once: every create runs the first, every settled job the others.
_INSERTS = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
_RESERVE = {name: _reserve(name, insert) for name, insert in _INSERTS.items()}
_ADD = {name: _add(insert) for name, insert in _INSERTS.items()}
_APPEND = {name: _written(insert) for name, insert in _INSERTS.items()}
