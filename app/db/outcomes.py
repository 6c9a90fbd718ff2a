"""What a generation's end means for its job: moved, priced and closed in one transaction."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from app.db import jobs
from app.db.tables import jobs as jobs_table
from app.domain.job import Job
from app.domain.money import credits_to_micros
from app.domain.states import JobState

EMPTY_MESSAGE = (
    "The upstream says that it finished but shows no video; a safety filter may have removed it. "
    "Change the image or the prompt."
)


def known_cost(job: Job, credits_used: int | None) -> dict[str, Any]:
    """Return what a bought generation is charged: what was reported, last word first, else what was estimated."""
    if credits_used is not None:
        return {"charged_micros": credits_to_micros(credits_used), "charge_basis": "reported", "settled": True}
    if job.charged_micros is not None:
        return {"settled": True}
    if job.expected_micros is not None:
        return {"charged_micros": job.expected_micros, "charge_basis": "estimated", "settled": True}
    return {"settled": True}


def completed(conn: Connection, job: Job, *, url: str, credits_used: int | None, now: datetime) -> Job | None:
    """The video is ready upstream: save it, or close an abandoned job at its cost."""
    cost = known_cost(job, credits_used)
    if job.state is JobState.ABANDONED:
        return jobs.advance(conn, job, to=JobState.CANCELED, now=now, billed=True, **cost)
    return jobs.advance(conn, job, to=JobState.SAVING, now=now, result_url=url, empty_since=None, **cost)


def completed_empty(
    conn: Connection, job: Job, *, credits_used: int | None, patience: timedelta, now: datetime
) -> Job | None:
    """Finished without a video: ask for a while longer, then fail; it may have been billed."""
    if job.empty_since is None or job.empty_since > now:
        same = jobs_table.update().where(jobs_table.c.id == job.id, jobs_table.c.version == job.version)
        conn.execute(same.values(empty_since=now))
        return None
    if now - job.empty_since < patience:
        return None
    return ended_without_video(
        conn, job, code="content_filtered", message=EMPTY_MESSAGE, cost=known_cost(job, credits_used), now=now
    )


def generation_failed(
    conn: Connection, job: Job, *, code: str, message: str, credits_used: int | None, now: datetime
) -> Job | None:
    """The upstream gave up. It bills nothing for that, unless this very answer reports a charge."""
    charged = credits_to_micros(credits_used) if credits_used else None
    basis = None if charged is None else "reported"
    cost = {"charged_micros": charged, "charge_basis": basis, "settled": True}
    return ended_without_video(conn, job, code=code, message=message, cost=cost, now=now)


def lost(conn: Connection, job: Job, *, now: datetime) -> Job | None:
    """Past the horizon nobody knows better: charge the estimate, because it may have been billed."""
    message = "The upstream never finished this generation. Check its dashboard before you buy another."
    return ended_without_video(conn, job, code="upstream_lost", message=message, cost=known_cost(job, None), now=now)


def ended_without_video(
    conn: Connection,
    job: Job,
    *,
    code: str,
    message: str,
    cost: dict[str, Any],
    now: datetime,
    billed: bool | None = None,
) -> Job | None:
    """Fail the job, or close it if its caller had canceled; `cost` says what is known of the bill.

    Whether it was billed follows from that, unless `billed` says so: a price may be unknown.
    """
    if billed is None:
        billed = bool(cost.get("charged_micros", job.charged_micros))
    if job.state is JobState.ABANDONED:
        return jobs.advance(conn, job, to=JobState.CANCELED, now=now, billed=billed, **cost)
    return jobs.advance(
        conn,
        job,
        to=JobState.FAILED,
        now=now,
        data={"code": code},
        error_code=code,
        error_message=message,
        billed=billed,
        **cost,
    )


def saved(conn: Connection, job: Job, *, video: dict[str, Any], now: datetime) -> Job | None:
    """The video is ours."""
    seconds = video.get("duration_seconds")
    return jobs.advance(conn, job, to=JobState.SUCCEEDED, now=now, video=video, video_seconds=seconds, billed=True)


def refresh_result(conn: Connection, job: Job, *, url: str | None, bad: bool) -> None:
    """The upstream was asked anew: keep the fresh URL if it gave one, and count a result that was `bad`."""
    held = jobs_table.update().where(jobs_table.c.id == job.id, jobs_table.c.lease_token == job.lease_token)
    conn.execute(held.values(result_url=url or job.result_url, bad_results=job.bad_results + int(bad)))
