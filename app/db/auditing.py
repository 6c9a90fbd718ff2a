"""Hold the ledger against the upstream's account, and against itself; book what the account knows better."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from app.db import jobs, ledger
from app.db.columns import one_of
from app.db.tables import jobs as jobs_table
from app.db.tables import ledger as entries
from app.db.tables import months, strays, submissions
from app.domain.job import Job
from app.domain.money import month_of
from app.domain.states import TERMINAL
from app.domain.transactions import Charge, Difference, Finding

T = jobs_table.c
BY_ACCOUNT = "transactions"
_UNCHARGED = T.reserved_micros - sa.func.coalesce(T.charged_micros, 0)
_HELD = sa.case((sa.or_(T.settled, _UNCHARGED < 0), 0), else_=_UNCHARGED)
_SPENT = sa.func.coalesce(T.charged_micros, 0) + T.extra_micros
_WRITTEN = sa.func.coalesce(sa.func.sum(entries.c.micros), 0)
LANDS_WITHIN = timedelta(hours=48)
"""How long after its request a generation's charge may take to appear: the longest generation and a day."""
ENDED_FOR = timedelta(hours=24)
"""How long its job must have ended, too: one that took longer than any is charged later than any."""


@dataclass(frozen=True, slots=True)
class Owned:
    """A charge of the account, and the job or else the stray of ours that it is for."""

    charge: Charge
    job_id: str | None
    stray_id: str | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """A charge that the account must show: its job, its generation's names, the earliest that it was bought."""

    job_id: str
    names: set[str]
    bought_at: datetime


def differing(conn: Connection, charges: Sequence[Charge]) -> tuple[list[Owned], list[Difference]]:
    """Return the charges that our books say otherwise, in the order of their jobs; and those that they don't know.

    Nothing is locked: what is found is looked at once more by `correct`. A job whose cost is not settled yet is left
    alone: its own answer comes first.
    """
    differ: list[Owned] = []
    unknown: list[Difference] = []
    owners = _owners(conn, {charge.generation_id for charge in charges})
    found = [(charge, owners.get(charge.generation_id)) for charge in charges]
    ours = _jobs(conn, {job_id for _, job_id in found if job_id is not None})
    spare = _strays(conn, {charge.generation_id for charge, job_id in found if job_id is None})
    for charge, job_id in found:
        if job_id is not None:
            if not _agrees(ours[job_id], charge):
                differ.append(Owned(charge, job_id))
        elif (stray := spare.get(head_of(charge.generation_id))) is None:
            unknown.append(_difference("unknown_purchase", charge.generation_id, theirs=charge.micros, booked=False))
        elif stray.micros != charge.micros:
            differ.append(Owned(charge, stray.job_id, stray.inference_id))
    return sorted(differ, key=lambda owned: (owned.job_id or "", owned.charge.generation_id)), unknown


def correct(conn: Connection, differ: Iterable[Owned], *, now: datetime) -> list[Difference]:
    """Correct what we charged to what the account was charged, where it still differs. They come in order of jobs."""
    found = []
    for owned in differ:
        job = None if owned.job_id is None else jobs.lock(conn, owned.job_id)
        if owned.stray_id is not None:
            found += _correct_stray(conn, job, owned.stray_id, owned.charge, now=now)
        elif job is not None and not _agrees(job, owned.charge):
            found += _correct_job(conn, job, owned.charge, now=now)
    return found


def _owners(conn: Connection, names: set[str]) -> dict[str, str]:
    """Return the jobs that carry the generations, by their names, which may come as `UUID` or as `UUID:model-id`.

    The indexes find those that are spelt as ours are; for the others every job is looked at, once.
    """
    told = sa.select(submissions.c.inference_id, T.id).join(
        submissions, sa.and_(submissions.c.job_id == T.id, submissions.c.n == T.attempts)
    )
    told = told.where(submissions.c.generation_id == T.generation_id)
    carried = sa.select(T.generation_id, T.id)
    found: dict[str, str] = {}

    def look(wanted: Callable[[Any], Any]) -> None:
        for query, column in ((told, submissions.c.inference_id), (carried, T.generation_id)):
            found.update({head_of(row[0]): row[1] for row in conn.execute(query.where(wanted(column)))})

    heads = {head_of(name) for name in names}
    look(lambda column: column.in_(names | heads))
    if others := heads - found.keys():
        look(lambda column: _head(conn, column).in_(others))
    return {name: found[head_of(name)] for name in names if head_of(name) in found}


def _jobs(conn: Connection, ids: set[str]) -> dict[str, Job]:
    return {row.id: jobs.as_job(row) for row in conn.execute(sa.select(jobs_table).where(T.id.in_(ids)))}


def _strays(conn: Connection, names: set[str]) -> dict[str, Any]:
    same = _head(conn, strays.c.inference_id).in_({head_of(name) for name in names})
    return {head_of(row.inference_id): row for row in conn.execute(sa.select(strays).where(same))}


def _agrees(job: Job, charge: Charge) -> bool:
    ours = job.charged_micros or 0
    return not job.settled or (ours == charge.micros and (job.charge_basis == "reported" or ours == 0))


def _correct_job(conn: Connection, job: Job, charge: Charge, *, now: datetime) -> list[Difference]:
    ours = job.charged_micros or 0
    _charge_job(conn, job, micros=charge.micros, now=now)
    if ours == charge.micros:
        return []  # the estimate was right, and is confirmed
    return [_difference("charge_differs", job.id, ours=ours, theirs=charge.micros)]


def _charge_job(conn: Connection, job: Job, *, micros: int, now: datetime) -> None:
    data = {"told_by": BY_ACCOUNT, "usd_micros": micros}
    known = {"charged_micros": micros, "charge_basis": "reported", "billed": micros > 0}
    jobs.note(conn, job, type="job.charge_corrected", now=now, data=data, **known)


def _correct_stray(
    conn: Connection, job: Job | None, stray_id: str, charge: Charge, *, now: datetime
) -> list[Difference]:
    """Correct a stray, whose job is locked, as it is now: another may have corrected it, or given it to its job."""
    row = conn.execute(sa.select(strays).where(strays.c.inference_id == stray_id).with_for_update()).one_or_none()
    if row is None or row.micros == charge.micros or row.job_id != (None if job is None else job.id):
        return []
    more = charge.micros - row.micros
    conn.execute(strays.update().where(strays.c.inference_id == stray_id).values(micros=charge.micros))
    if job is None:
        ledger.append_stray(conn, stray_id, source=BY_ACCOUNT, micros=more, now=now)
    else:
        data = {"told_by": BY_ACCOUNT, "generation_id": stray_id, "usd_micros": charge.micros}
        jobs.note(conn, job, type="job.extra_charge", now=now, data=data, extra_micros=job.extra_micros + more)
    return [_difference("charge_differs", stray_id, ours=row.micros, theirs=charge.micros)]


def charged_jobs(conn: Connection, *, start: datetime, now: datetime, key_print: str) -> list[Expected]:
    """Return the charges of settled jobs that the account must show by now: bought since then, and not too lately.

    A job was bought when its request left, however late we learned of it; which of its attempts it was may be unknown,
    so all of them must have been made since then. Only those that were bought with this key count: another one's
    account shows what that one bought.
    """
    latest = sa.and_(submissions.c.job_id == T.id, submissions.c.n == T.attempts)
    ours = sa.or_(submissions.c.key_print.is_(None), submissions.c.key_print == key_print)
    each = submissions.alias().c
    first = sa.select(sa.func.min(_sent(each))).where(each.job_id == T.id).scalar_subquery()
    query = (
        sa.select(T.id, first, T.generation_id, submissions.c.inference_id)
        .join(submissions, latest)
        .where(one_of(T.state, TERMINAL), T.settled, T.charged_micros > 0, ours)
        .where(first >= start, _sent(submissions.c) <= now - LANDS_WITHIN, T.finished_at <= now - ENDED_FOR)
        .order_by(T.id)
    )
    return [Expected(row[0], {head_of(name) for name in row[2:] if name}, row[1]) for row in conn.execute(query)]


def _sent(submission: Any) -> Any:
    return sa.func.coalesce(submission.sent_at, submission.prepared_at)


def take_back(conn: Connection, job_id: str, *, booked: bool, now: datetime) -> list[Difference]:
    """The account shows no charge for this job: what we booked was never billed. Only reported, unless `booked`.

    Without a generation nobody can tell which charge would be its, and nothing is changed.
    """
    job = jobs.lock(conn, job_id)
    ours = job.charged_micros or 0
    if job.generation_id is None:
        return [_difference("nothing_to_compare", job.id, ours=ours, booked=False)]
    if booked:
        _charge_job(conn, job, micros=0, now=now)
    return [_difference("not_on_account", job.id, ours=ours, booked=booked)]


def months_that_differ(conn: Connection, start: datetime) -> list[tuple[str, str]]:
    """Return the months, by project, from that of `start` on whose sums or entries do not fit their jobs."""
    query = sa.select(months).where(months.c.month >= month_of(start))
    return [
        (row.project_id, row.month)
        for row in conn.execute(query.order_by(months.c.project_id, months.c.month)).all()
        if _sums(conn, row.project_id, row.month) != (row.reserved_micros, row.spent_micros)
        or conn.execute(_without_entries(row.project_id, row.month).limit(1)).first() is not None
    ]


def _sums(conn: Connection, project_id: str, month: str) -> tuple[int, int]:
    sums = [sa.func.coalesce(sa.func.sum(column), 0) for column in (_HELD, _SPENT)]
    reserved_micros, spent_micros = conn.execute(sa.select(*sums).where(*_made_in(project_id, month))).one()
    return int(reserved_micros), int(spent_micros)


def _without_entries(project_id: str, month: str) -> sa.Select[Any]:
    written = sa.select(_WRITTEN).where(entries.c.job_id == T.id).scalar_subquery()
    return sa.select(T.id).where(*_made_in(project_id, month), written != _SPENT).order_by(T.id)


def compare_sums(conn: Connection, *, project_id: str, month: str) -> list[Difference]:
    """Compare the sums of one project's month with the rows of its jobs, which are the truth.

    The month's row is locked first: what others have under way is added to what is put right here.
    """
    locked = sa.select(months).where(months.c.project_id == project_id, months.c.month == month).with_for_update()
    row = conn.execute(locked).one()
    reserved_micros, spent_micros = _sums(conn, project_id, month)
    found = [
        _difference("sum_differs", f"{project_id} {month}", ours=ours, theirs=theirs)
        for ours, theirs in ((row.reserved_micros, reserved_micros), (row.spent_micros, spent_micros))
        if ours != theirs
    ]
    if found:
        mine = months.update().where(months.c.project_id == project_id, months.c.month == month)
        conn.execute(mine.values(reserved_micros=reserved_micros, spent_micros=spent_micros))
    return found


def compare_entries(conn: Connection, *, project_id: str, month: str, now: datetime) -> list[Difference]:
    """Write the entries of what a replica of an older build has charged without one."""
    found = []
    for job_id in conn.execute(_without_entries(project_id, month)).scalars().all():
        job = jobs.lock(conn, job_id)
        known = int(conn.execute(sa.select(_WRITTEN).where(entries.c.job_id == job_id)).scalar_one())
        if missing := job.spent_micros - known:
            ledger.append(conn, job, kind="adjustment", source="check", micros=missing, now=now)
            found.append(_difference("sum_differs", job_id, ours=known, theirs=job.spent_micros))
    return found


def head_of(generation_id: str) -> str:
    """Return what stays of a generation's name however it is spelt: `UUID`, or `UUID:model-id`."""
    return generation_id.partition(":")[0]


def _head(conn: Connection, column: Any) -> Any:
    if conn.dialect.name == "sqlite":
        return sa.func.substr(column, 1, sa.func.instr(column.op("||")(":"), ":") - 1)
    return sa.func.split_part(column, ":", 1)


def _made_in(project_id: str, month: str) -> list[sa.ColumnElement[bool]]:
    first = datetime.fromisoformat(f"{month}-01T00:00:00+00:00")
    following = (first + timedelta(days=32)).replace(day=1)
    return [T.project_id == project_id, T.created_at >= first, T.created_at < following]


def _difference(finding: Finding, about: str, *, ours: int = 0, theirs: int = 0, booked: bool = True) -> Difference:
    return Difference(finding=finding, about=about, ours_micros=ours, theirs_micros=theirs, booked=booked)
