"""What was asked for and what came back: no answer of 5xx stands for a job, and a key stands for one."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from torture.judge import Books
from torture.table import Part

CUT_OFF = 0
"""In place of a status: the connection ended without an answer."""
MARK = "mark"
"""The name in the metadata under which each request carries a number of its own."""


@dataclass(slots=True)
class Ask:
    """One request for a job, over all the times it was sent."""

    mark: str
    sent: dict[str, Any]
    """What to hand to the HTTP client."""
    key: str | None = None
    """Its Idempotency-Key. Without one it is never sent again."""
    statuses: list[int] = field(default_factory=list)
    job_ids: set[str] = field(default_factory=set)
    first_was_replayed: bool = False
    """Whether the first answer with a job said that the job had been made before."""
    is_deleted: bool = False
    """Whether somebody asked to delete its job: from then on its key stands for nothing."""


def judge_answers(part: Part, books: Books, asks: list[Ask], retries: dict[str, list[int]], *, name: str) -> None:
    """Hold every answer against the jobs that carry the request's mark."""
    made: dict[str, set[str]] = defaultdict(set)
    for job in books.jobs.values():
        if job.retried_from is None and MARK in job.metadata:
            made[job.metadata[MARK]].add(job.id)
    unanswered = [ask.mark for ask in asks if ask.key is not None and not ask.job_ids]
    part.require(
        not unanswered, f"[{name}] {len(unanswered)} requests have a key and never got a job: {unanswered[:5]}"
    )
    for ask in asks:
        # A deleted job carries no mark any more; that it was there its answer says.
        _judge_ask(part, ask, made[ask.mark] | ask.job_ids, name=name)
    retried = {job.retried_from for job in books.jobs.values()}
    for job_id, statuses in retries.items():
        if all(status >= 500 for status in statuses):
            part.require(job_id not in retried, f"[{name}] {job_id} was retried, and the answer was {statuses}")


def _judge_ask(part: Part, ask: Ask, made: set[str], *, name: str) -> None:
    told = f"[{name}] the request {ask.mark}, answered {ask.statuses}"
    part.require(len(made) <= 1, f"{told}, made {len(made)} jobs: {sorted(made)}")
    if CUT_OFF in ask.statuses:
        part.counts["cut off"] += 1
    elif any(status >= 500 for status in ask.statuses):
        part.counts["refused"] += 1
        part.require(bool(ask.job_ids) or not made, f"{told}, made {sorted(made)} all the same")
        part.require(not ask.first_was_replayed, f"{told}, had made its job when it was answered so")
    if ask.key is not None:
        part.require(len(ask.job_ids) <= 1, f"{told}, has a key and got {sorted(ask.job_ids)}")
        part.counts["asked again"] += len(ask.statuses) > 1
