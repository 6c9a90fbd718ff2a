"""What the usage log's rows mean for our jobs: adopted, not bought after all, or a stray that costs money too."""

from datetime import datetime, timedelta
from typing import Any, Literal

import structlog
from sqlalchemy import Connection

from app.db import jobs, ledger, log_reader, outcomes, restoring, revoking, submissions
from app.db.columns import insert_if_absent
from app.db.log_reader import LogRead
from app.db.settling import carrier, settle
from app.db.signals import SUBMIT, announce
from app.db.tables import strays
from app.domain.errors import Refusal, Refused
from app.domain.job import Job, Submission, SubmissionState
from app.domain.money import credits_to_micros
from app.domain.states import TERMINAL, JobState
from app.domain.usage_log import LoggedRequest, own_attempt, same_generation

log = structlog.get_logger()
BY_LOG = "usage_log"
Lesson = Literal["known", "adopted", "not_bought", "stray", "too_early", "unclear", "foreign"]
FAILED_MESSAGE = "The upstream's log lists this request as failed. Nothing was bought."


def learn(conn: Connection, rows: list[LoggedRequest], *, deployment: str, now: datetime) -> Lesson:
    """Take in all rows of one request id. Rows of other deployments that share the key are none of our business."""
    attempt = own_attempt(rows[0].request_id, deployment=deployment)
    if attempt is None:
        return "foreign"
    job = jobs.find(conn, attempt[0], lock=True)
    bought = [row for row in rows if row.succeeded and row.inference_id]
    lessons = [_learn_bought(conn, job, row, n=attempt[1], now=now) for row in bought]
    if bought:
        return next((lesson for lesson in lessons if lesson != "known"), "known")
    if not all(row.succeeded is False for row in rows):
        # It may be a purchase that names no id: nothing is concluded from failed rows beside it, nor from time.
        if job is not None and job.attempts == attempt[1] and job.is_doubtful and job.search_ended_at is None:
            _leave_to_a_person(conn, job, submissions.latest(conn, job), reason="unclear_in_usage_log", now=now)
        return "unclear"
    return "known" if job is None else _learn_failed(conn, job, rows[0], n=attempt[1], now=now)


def _learn_bought(conn: Connection, job: Job | None, row: LoggedRequest, *, n: int, now: datetime) -> Lesson:
    assert row.inference_id is not None
    if job is not None:
        job = jobs.lock(conn, job.id)  # an earlier row of the same request may have moved it
    if carrier(conn, row.inference_id) is not None:
        return "known"
    if job is None:
        return _book_stray(conn, None, row, now=now)
    if job.generation_id is not None and _is_that_answer(submissions.numbered(conn, job.id, n), row.inference_id):
        return "known"
    latest = n == job.attempts
    if job.state is JobState.SUBMITTING and n >= job.attempts:
        return "too_early"
    if latest and job.is_doubtful:
        submission = submissions.latest(conn, job)
        _accept(conn, submission, row, now=now)
        return "known" if settle(conn, job.id, now=now, lease_token=None, told_by=BY_LOG) is None else "adopted"
    if job.state is JobState.QUEUED and n >= job.attempts:
        return _adopt_queued(conn, job, row, n=n, now=now)
    if latest and job.state in TERMINAL and job.generation_id is None and job.billed:
        return _correct_charge(conn, job, row, now=now)
    return _book_stray(conn, job, row, now=now)


def _correct_charge(conn: Connection, job: Job, row: LoggedRequest, *, now: datetime) -> Lesson:
    """It was closed as perhaps billed, before anybody knew: now the log says what it cost."""
    _accept(conn, submissions.latest(conn, job), row, now=now)
    known: dict[str, Any] = {}
    if row.credits is not None:
        known = {"charged_micros": credits_to_micros(row.credits), "charge_basis": "reported"}
    data = {"generation_id": row.inference_id, "told_by": BY_LOG}
    jobs.note(conn, job, type="job.charge_corrected", now=now, data=data, generation_id=row.inference_id, **known)
    return "adopted"


def _is_that_answer(submission: Submission | None, inference_id: str) -> bool:
    """Tell whether the row is of the purchase whose answer we have, which may spell its id in another way."""
    if submission is None or submission.generation_id is None:
        return False
    return inference_id == submission.inference_id or same_generation(inference_id, submission.generation_id)


def _accept(conn: Connection, submission: Submission, row: LoggedRequest, *, now: datetime) -> None:
    submissions.record_accepted(
        conn,
        submission.id,
        now=now,
        generation_id=row.inference_id or "",
        inference_id=row.inference_id,
        credits=row.credits,
    )


def _adopt_queued(conn: Connection, job: Job, row: LoggedRequest, *, n: int, now: datetime) -> Lesson:
    """The job waits to be bought, and was bought: by an attempt that an older database has forgotten, or misjudged."""
    taken = jobs.advance(
        conn,
        job,
        to=JobState.SUBMITTING,
        now=now,
        attempts=n,
        lease_token=BY_LOG,
        lease_expires_at=now,
        parked=False,
    )
    assert taken is not None
    submission = submissions.numbered(conn, job.id, n) or submissions.remember(
        conn, taken, request_id=row.request_id, at=row.created_at or job.created_at
    )
    _accept(conn, submission, row, now=now)
    settle(conn, job.id, now=now, lease_token=BY_LOG, told_by=BY_LOG)
    return "adopted"


def _learn_failed(conn: Connection, job: Job, row: LoggedRequest, *, n: int, now: datetime) -> Lesson:
    if job.state is JobState.QUEUED and n > job.attempts:
        # A number that the upstream has seen must not be used again: the log could not tell the two apart.
        jobs.note(conn, job, type="job.attempt_remembered", now=now, data={"attempt": n}, attempts=n)
        return "not_bought"
    if n != job.attempts or not job.is_doubtful:
        return "known"
    submission = submissions.latest(conn, job)
    if submission.state is SubmissionState.ACCEPTED:
        return "known"
    refusal = Refused(FAILED_MESSAGE, refusal=Refusal.LOGGED_AS_FAILED, http_status=submission.http_status or 0)
    submissions.record_failure(conn, submission.id, refusal, now=now)
    settle(conn, job.id, now=now, lease_token=None, told_by=BY_LOG)
    return "not_bought"


def _book_stray(conn: Connection, job: Job | None, row: LoggedRequest, *, now: datetime) -> Lesson:
    """Money that no job carries is still spent: booked once, shown with the job it was meant for, and alarmed."""
    estimated = job.expected_micros if job is not None else None
    micros = (estimated or 0) if row.credits is None else credits_to_micros(row.credits)
    is_new = insert_if_absent(
        conn,
        strays,
        inference_id=row.inference_id,
        request_id=row.request_id,
        job_id=None if job is None else job.id,
        model=row.model,
        micros=micros,
        bought_at=row.created_at or now,
        seen_at=now,
    )
    if not is_new:
        return "known"
    log.error("stray_purchase", request_id=row.request_id, generation_id=row.inference_id, micros=micros)
    if job is None:
        ledger.append_stray(conn, row.inference_id or "", source=BY_LOG, micros=micros, now=now)
    else:
        data = {"generation_id": row.inference_id, "usd_micros": micros, "told_by": BY_LOG}
        jobs.note(conn, job, type="job.extra_charge", now=now, data=data, extra_micros=job.extra_micros + micros)
    return "stray"


def conclude(
    conn: Connection,
    read: LogRead,
    *,
    key_print: str,
    now: datetime,
    window: timedelta,
    longest_gap: timedelta,
    horizon: timedelta,
) -> None:
    """A read is complete and everything in it was learned: count it for those it showed nothing of.

    Only time during which the log could be read counts, with the key that the submission was made with: a log that
    was away, or another account's, proves nothing.
    """
    for job, submission in log_reader.doubtful(conn):
        covered = read.start <= submission.prepared_at and submission.key_print in (None, key_print)
        if job.search_ended_at is None and covered:
            gained = timedelta(0) if submission.searched_at is None else now - submission.searched_at
            watched = submission.searched_seconds + min(max(gained, timedelta(0)), longest_gap).total_seconds()
            submissions.searched(conn, submission.id, at=now, seconds=watched)
            if watched >= window.total_seconds():
                _end_search(conn, jobs.lock(conn, job.id), submission, now=now)
        elif job.state is JobState.ABANDONED and (job.finished_at or now) + horizon <= now:
            outcomes.lost(conn, jobs.lock(conn, job.id), now=now)
    reader = log_reader.state(conn, lock=True)
    if reader.restored_from is not None and reader.parked_until is not None:
        _release_parked(conn, read, since=reader.restored_from, until=reader.parked_until, now=now)
    log_reader.note_complete(conn, now=now, audited=read.start <= now - window)


def _release_parked(conn: Connection, read: LogRead, *, since: datetime, until: datetime, now: datetime) -> None:
    """The log has told what a restored database forgot: what it still holds was not bought, and may be."""
    if read.start <= since and until <= now:
        log.warning("restored_jobs_released", jobs=restoring.unpark(conn))


def _end_search(conn: Connection, job: Job, submission: Submission, *, now: datetime) -> None:
    """No trace of it for the whole window: what its caller chose in advance, or else an operator decides."""
    if not job.is_doubtful:
        return
    reason = "not_in_usage_log"
    wants_another = job.state is JobState.UNCONFIRMED and job.on_unconfirmed == "resubmit"
    anew = job.expected_micros or 0
    if wants_another and submission.state is not SubmissionState.ACCEPTED and not revoking.is_unwanted(conn, job):
        # The first one stays reserved beside it until the job ends: it may turn up after all.
        if not ledger.reserve_more(conn, job, micros=anew):
            _leave_to_a_person(conn, job, submission, reason="no_room_in_budget", now=now)
            return
        log.warning("unconfirmed_resubmitted", job_id=job.id)
        data = {"attempt": submission.n, "reason": reason}
        room = {"reserved_micros": job.reserved_micros + anew, "each_micros": job.expected_micros}
        jobs.advance(conn, job, to=JobState.QUEUED, now=now, data=data, wait_reason="resubmitted", **room)
        return
    _leave_to_a_person(conn, job, submission, reason=reason, now=now)


def _leave_to_a_person(conn: Connection, job: Job, submission: Submission, *, reason: str, now: datetime) -> None:
    """The log cannot tell: the job stays as it is, visibly, and gives its place upstream back."""
    data = {"attempt": submission.n, "reason": reason}
    log.error("submission_unresolved", job_id=job.id, request_id=submission.request_id, reason=reason)
    jobs.note(conn, job, type="job.unresolved", now=now, data=data, search_ended_at=now, wait_reason="needs_operator")
    announce(conn, SUBMIT)
