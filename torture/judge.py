"""The judge: what the sandbox sold against what our database says. Our own logs are no witness."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import httpx2
import sqlalchemy as sa

from app.db import tables
from app.domain.money import credits_to_micros
from app.domain.states import DOUBTFUL, TERMINAL, TRANSITIONS, JobState
from torture.house import House
from torture.table import Part

JOBS, SUBMISSIONS, EVENTS, STRAYS = tables.jobs, tables.submissions, tables.events, tables.strays


def sold(upstream_url: str, prefix: str) -> list[dict[str, Any]]:
    """Return the purchases whose client request id begins so."""
    params = {"limit": "20000", "client_request_id_prefix": prefix}
    answer = httpx2.get(f"{upstream_url}/_sandbox/ledger", params=params, timeout=60).raise_for_status().json()
    purchases: list[dict[str, Any]] = answer["purchases"]
    return purchases


@dataclass(slots=True)
class Books:
    """Both sides of the account of one house."""

    purchases: list[dict[str, Any]]
    jobs: dict[str, Any]
    strays: list[Any]
    events: dict[str, list[Any]] = field(default_factory=dict)
    entries: dict[str, int] = field(default_factory=dict)
    """What our ledger's entries say that each job cost."""
    sums: tuple[int, int] = (0, 0)
    """What the months' sums say is reserved and spent."""
    logged_as_failed: set[str] = field(default_factory=set)

    def of_job(self, job_id: str) -> list[dict[str, Any]]:
        return [purchase for purchase in self.purchases if job_of(purchase) == job_id]


def job_of(purchase: dict[str, Any]) -> str:
    return str(purchase["client_request_id"]).split(":")[2]


def opened(house: House, upstream_url: str) -> Books:
    """Read both sides."""
    engine = sa.create_engine(house.url)
    with engine.connect() as conn:
        jobs = {row.id: row for row in conn.execute(sa.select(JOBS))}
        strays = list(conn.execute(sa.select(STRAYS)))
        events: dict[str, list[Any]] = defaultdict(list)
        for row in conn.execute(sa.select(EVENTS).order_by(EVENTS.c.job_id, EVENTS.c.n)):
            events[row.job_id].append(row)
        entries, months = tables.ledger.c, tables.months.c
        by_job = sa.select(entries.job_id, sa.func.sum(entries.micros)).group_by(entries.job_id)
        booked = {row[0]: int(row[1]) for row in conn.execute(by_job)}
        in_all = sa.select(sa.func.sum(months.reserved_micros), sa.func.sum(months.spent_micros))
        reserved, spent = conn.execute(in_all).one()
    engine.dispose()
    bought = sold(upstream_url, f"rly:{house.deployment_id}:")
    return Books(bought, jobs, strays, events, entries=booked, sums=(int(reserved or 0), int(spent or 0)))


def judge(part: Part, house: House, upstream_url: str, *, accepted: set[str]) -> Books:
    """Check every invariant; what broke is noted in `part`."""
    books = opened(house, upstream_url)
    part.counts["purchases"] += len(books.purchases)
    _no_submission_bought_twice(part, books)
    _no_job_lost(part, books, accepted=accepted)
    for job in books.jobs.values():
        _job_and_its_purchases_agree(part, books, job)
        _timeline_is_lawful(part, books, job)
    _every_purchase_is_carried_or_alarmed(part, books)
    _ledgers_agree(part, books)
    part.broken[:] = [f"[{house.name}] {line}" if line[0] != "[" else line for line in part.broken]
    return books


def _no_submission_bought_twice(part: Part, books: Books) -> None:
    bought = Counter(purchase["client_request_id"] for purchase in books.purchases)
    for request_id, times in bought.items():
        if times > 1:
            part.counts["duplicates"] += times - 1
            part.broken.append(f"{request_id} bought {times} times")


def _no_job_lost(part: Part, books: Books, *, accepted: set[str]) -> None:
    for job_id in sorted(accepted):
        job = books.jobs.get(job_id)
        if job is None:
            part.counts["lost"] += 1
            part.broken.append(f"{job_id} was accepted and is gone")
        elif job.state not in TERMINAL and not _visibly_unconfirmed(job):
            part.counts["lost"] += 1
            part.broken.append(f"{job_id} is still {job.state}, due {job.due_at}, {job.wait_reason}")


def _visibly_unconfirmed(job: Any) -> bool:
    return job.state in DOUBTFUL and job.generation_id is None and job.search_ended_at is not None


def _job_and_its_purchases_agree(part: Part, books: Books, job: Any) -> None:
    """confirmed <= purchases <= confirmed + unconfirmed, but for strays and what failed upstream at no cost."""
    alarmed = {stray.inference_id for stray in books.strays}
    purchases = books.of_job(job.id)
    paid = [p for p in purchases if p["cost_credits"] and p["generation_id"] not in alarmed]
    confirmed = int(job.generation_id is not None)
    unconfirmed = int(_visibly_unconfirmed(job))
    carried = [p for p in purchases if p["generation_id"] == job.generation_id]
    part.require(len(carried) == confirmed, f"{job.id} carries {job.generation_id}, which was not bought for it")
    if len(paid) > max(confirmed, unconfirmed):
        part.counts["duplicates"] += len(paid) - max(confirmed, unconfirmed)
        part.broken.append(f"{job.id} ({job.state}, {job.generation_id}) was bought {len(paid)} times")
    if job.state == JobState.SUCCEEDED:
        part.require(bool(job.video) or job.deleted_at is not None, f"{job.id} succeeded without a video")


def _timeline_is_lawful(part: Part, books: Books, job: Any) -> None:
    states = [JobState(event.state) for event in books.events.get(job.id, ())]
    part.require(len(states) == job.event_count, f"{job.id} has {len(states)} events and counts {job.event_count}")
    unlawful = [f"{a}->{b}" for a, b in pairwise(states) if a != b and b not in TRANSITIONS[a]]
    part.require(not unlawful, f"{job.id} went {unlawful}")
    part.require(bool(states) and states[-1] == job.state, f"{job.id} is {job.state} and its timeline says otherwise")


def _every_purchase_is_carried_or_alarmed(part: Part, books: Books) -> None:
    known = {job.generation_id for job in books.jobs.values()} | {stray.inference_id for stray in books.strays}
    for purchase in books.purchases:
        if purchase["cost_credits"] and purchase["generation_id"] not in known:
            part.broken.append(f"{purchase['client_request_id']} was bought, and neither adopted nor alarmed")
            part.counts["lost"] += 1


def _ledgers_agree(part: Part, books: Books) -> None:
    """Every carried purchase is charged as the sandbox charges it, and every stray is booked with its job."""
    cost = {p["generation_id"]: credits_to_micros(p["cost_credits"]) for p in books.purchases}
    extra: Counter[str] = Counter()
    for stray in books.strays:
        part.require(stray.micros == cost.get(stray.inference_id), f"stray {stray.inference_id}: {stray.micros}")
        extra[stray.job_id] += stray.micros
    ours = theirs = 0
    for job in books.jobs.values():
        part.require(job.extra_micros == extra[job.id], f"{job.id} books {job.extra_micros} extra, not {extra[job.id]}")
        if job.settled and job.generation_id is not None:
            charged, billed = job.charged_micros or 0, cost.get(job.generation_id, 0)
            part.require(charged == billed, f"{job.id} is charged {charged} and the upstream bills {billed}")
            ours, theirs = ours + charged, theirs + billed
        elif job.settled:
            part.require(not job.charged_micros, f"{job.id} bought nothing and is charged {job.charged_micros}")
    part.counts["micros"] += ours
    part.require(ours == theirs, f"our ledger says {ours} micro-dollars, the sandbox {theirs}")
    held = sum(
        0 if job.settled else max(0, job.reserved_micros - (job.charged_micros or 0)) for job in books.jobs.values()
    )
    spent = {job.id: (job.charged_micros or 0) + job.extra_micros for job in books.jobs.values()}
    for job_id, micros in spent.items():
        written = books.entries.get(job_id, 0)
        part.require(written == micros, f"{job_id} cost {micros} and its entries say {written}")
    part.require(books.sums == (held, sum(spent.values())), f"the months say {books.sums}, the jobs {held} and {spent}")
