"""Hold the ledger against the upstream's account, and against itself; book what the account knows better."""

from collections.abc import Iterable
from datetime import datetime, timedelta

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
_HELD = sa.case((sa.or_(T.settled, T.charged_micros.is_not(None)), 0), else_=T.reserved_micros)
_SPENT = sa.func.coalesce(T.charged_micros, 0) + T.extra_micros
_WRITTEN = sa.func.coalesce(sa.func.sum(entries.c.micros), 0)
LANDS_WITHIN = timedelta(hours=48)
"""How long after its start a generation's charge may take to appear: the longest generation and a day."""


def compare_charges(conn: Connection, charges: Iterable[Charge], *, now: datetime) -> list[Difference]:
    """Compare what the account was charged with what we booked; correct our charge where it differs.

    A job whose cost is not settled yet is left alone: its own answer comes first.
    """
    found = []
    for charge in charges:
        owner = _owner_of(conn, charge.generation_id)
        if owner is not None:
            found += _compare(conn, jobs.lock(conn, owner), charge, now=now)
        else:
            found += _compare_stray(conn, charge, now=now)
    return found


def _owner_of(conn: Connection, generation_id: str) -> str | None:
    """Return the job that carries the generation; its id may come as `UUID` or as `UUID:model-id`."""
    names = sorted({generation_id, head_of(generation_id)})
    carried = sa.select(T.id).where(T.generation_id.in_(names)).limit(1)
    told = (
        sa.select(T.id)
        .join(submissions, sa.and_(submissions.c.job_id == T.id, submissions.c.n == T.attempts))
        .where(submissions.c.inference_id.in_(names), submissions.c.generation_id == T.generation_id)
        .limit(1)
    )
    owner: str | None = conn.execute(carried).scalar_one_or_none() or conn.execute(told).scalar_one_or_none()
    return owner


def _compare(conn: Connection, job: Job, charge: Charge, *, now: datetime) -> list[Difference]:
    if not job.settled:
        return []
    ours = job.charged_micros or 0
    if ours == charge.micros and (job.charge_basis == "reported" or ours == 0):
        return []
    _correct(conn, job, micros=charge.micros, now=now)
    if ours == charge.micros:
        return []  # the estimate was right, and is confirmed
    return [_difference("charge_differs", job.id, ours=ours, theirs=charge.micros)]


def _correct(conn: Connection, job: Job, *, micros: int, now: datetime) -> None:
    data = {"told_by": BY_ACCOUNT, "usd_micros": micros}
    known = {"charged_micros": micros, "charge_basis": "reported", "billed": micros > 0}
    jobs.note(conn, job, type="job.charge_corrected", now=now, data=data, **known)


def _compare_stray(conn: Connection, charge: Charge, *, now: datetime) -> list[Difference]:
    row = conn.execute(sa.select(strays).where(strays.c.inference_id == charge.generation_id)).one_or_none()
    if row is None:
        return [_difference("unknown_purchase", charge.generation_id, theirs=charge.micros, booked=False)]
    if row.micros == charge.micros:
        return []
    more = charge.micros - row.micros
    conn.execute(strays.update().where(strays.c.inference_id == row.inference_id).values(micros=charge.micros))
    if row.job_id is None:
        ledger.append_stray(conn, row.inference_id, source=BY_ACCOUNT, micros=more, now=now)
    else:
        job = jobs.lock(conn, row.job_id)
        data = {"told_by": BY_ACCOUNT, "generation_id": row.inference_id, "usd_micros": charge.micros}
        jobs.note(conn, job, type="job.extra_charge", now=now, data=data, extra_micros=job.extra_micros + more)
    return [_difference("charge_differs", row.inference_id, ours=row.micros, theirs=charge.micros)]


def charged_jobs(conn: Connection, *, start: datetime, now: datetime, key_print: str) -> list[tuple[str, set[str]]]:
    """Return the settled jobs that the account must show by now, with the names of their generations: begun since then.

    Only those that were bought with this key: another one's account shows what that one bought.
    """
    latest = sa.and_(submissions.c.job_id == T.id, submissions.c.n == T.attempts)
    ours = sa.or_(submissions.c.key_print.is_(None), submissions.c.key_print == key_print)
    begun = sa.func.coalesce(T.started_at, T.finished_at)
    query = (
        sa.select(T.id, T.generation_id, submissions.c.inference_id)
        .join(submissions, latest)
        .where(one_of(T.state, TERMINAL), T.settled, T.charged_micros > 0, ours)
        .where(begun >= start, begun <= now - LANDS_WITHIN)
        .order_by(T.id)
    )
    return [(row[0], {head_of(name) for name in row[1:] if name}) for row in conn.execute(query)]


def take_back(conn: Connection, job_id: str, *, now: datetime) -> list[Difference]:
    """The account shows no charge for this job: what we booked was never billed.

    Without a generation nobody can tell which charge would be its, and nothing is changed.
    """
    job = jobs.lock(conn, job_id)
    ours = job.charged_micros or 0
    if job.generation_id is None:
        return [_difference("nothing_to_compare", job.id, ours=ours, booked=False)]
    _correct(conn, job, micros=0, now=now)
    return [_difference("not_on_account", job.id, ours=ours)]


def compare_sums(conn: Connection, *, project_id: str, month: str) -> list[Difference]:
    """Compare the sums of one project's month with the rows of its jobs, which are the truth.

    The month's row is locked first: what others have under way is added to what is put right here.
    """
    locked = sa.select(months).where(months.c.project_id == project_id, months.c.month == month).with_for_update()
    row = conn.execute(locked).one()
    sums = [sa.func.coalesce(sa.func.sum(column), 0) for column in (_HELD, _SPENT)]
    reserved_micros, spent_micros = map(int, conn.execute(sa.select(*sums).where(*_made_in(project_id, month))).one())
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
    written = sa.select(_WRITTEN).where(entries.c.job_id == T.id).scalar_subquery()
    query = sa.select(T.id).where(*_made_in(project_id, month), written != _SPENT).order_by(T.id)
    found = []
    for job_id in conn.execute(query).scalars().all():
        job = jobs.lock(conn, job_id)
        known = int(conn.execute(sa.select(_WRITTEN).where(entries.c.job_id == job_id)).scalar_one())
        if missing := job.spent_micros - known:
            ledger.append(conn, job, kind="adjustment", source="check", micros=missing, now=now)
            found.append(_difference("sum_differs", job_id, ours=known, theirs=job.spent_micros))
    return found


def months_since(conn: Connection, start: datetime) -> list[tuple[str, str]]:
    """Return the months, by project, from that of `start` on."""
    query = sa.select(months.c.project_id, months.c.month).where(months.c.month >= month_of(start))
    return [(row[0], row[1]) for row in conn.execute(query.order_by(months.c.project_id, months.c.month))]


def head_of(generation_id: str) -> str:
    """Return what stays of a generation's name however it is spelt: `UUID`, or `UUID:model-id`."""
    return generation_id.partition(":")[0]


def _made_in(project_id: str, month: str) -> list[sa.ColumnElement[bool]]:
    first = datetime.fromisoformat(f"{month}-01T00:00:00+00:00")
    following = (first + timedelta(days=32)).replace(day=1)
    return [T.project_id == project_id, T.created_at >= first, T.created_at < following]


def _difference(finding: Finding, about: str, *, ours: int = 0, theirs: int = 0, booked: bool = True) -> Difference:
    return Difference(finding=finding, about=about, ours_micros=ours, theirs_micros=theirs, booked=booked)
