"""The submit ledger: whatever happens to the worker, the row tells what became of the money."""

from datetime import timedelta

import pytest

from app.db import claims, gate, jobs, outcomes, settling, submissions
from app.db.engine import Connection
from app.db.jobs import Owner
from app.db.tables import jobs as jobs_table
from app.domain.errors import NotSent, Refusal, Refused, Unconfirmed, UpstreamFailure
from app.domain.job import Job, Submission
from app.domain.states import JobState
from tests.db.conftest import T0, MakeJob, accept, admit, generating, later, sending

PAUSE = timedelta(seconds=30)


def settle(conn: Connection, job: Job, *, token: str | None = "t1") -> Job | None:
    return settling.settle(conn, job.id, now=later(5), lease_token=token)


def mark(conn: Connection, job: Job, submission: Submission, *, at: float = 0) -> bool:
    return submissions.mark_sending(conn, job, submission, now=later(at), lease_expires_at=later(at + 60))


def failed(conn: Connection, submission: Submission, failure: UpstreamFailure) -> None:
    submissions.record_failure(conn, submission.id, failure, now=later(4))


def refused(refusal: Refusal) -> Refused:
    return Refused("the upstream said no", refusal=refusal, http_status=400)


def test_completed__what_was_reported_stays_where_the_end_reports_nothing(conn: Connection, make_job: MakeJob) -> None:
    make_job(estimated_micros=2_500_000, reserved_micros=2_500_000)
    job = generating(conn, credits_used=6_000_000)
    assert job.charged_micros not in (None, job.estimated_micros)
    saving = outcomes.completed(conn, job, url="https://videos.example/v.mp4", credits_used=None, now=later(9))
    assert saving is not None
    assert (saving.charged_micros, saving.charge_basis, saving.settled) == (job.charged_micros, "reported", True)


def test_settle__an_answer_lost_after_a_cancel_leaves_the_job_canceled_and_watched(
    conn: Connection, make_job: MakeJob, project_id: str
) -> None:
    make_job()
    job, submission = sending(conn)
    jobs.cancel(conn, job.id, owner=Owner(project_id=project_id), now=T0)
    failed(conn, submission, Unconfirmed("cut off"))
    settled = settle(conn, job)
    assert settled is not None
    assert (settled.state, settled.wait_reason, settled.settled) == (JobState.ABANDONED, None, False)


def test_committed__counts_what_was_bought_and_not_what_is_only_on_its_way(conn: Connection, make_job: MakeJob) -> None:
    make_job(estimated_micros=2_500_000)
    sending(conn)
    assert settling.committed_micros(conn) == 0
    make_job(estimated_micros=3_000_000)
    generating(conn)
    assert settling.committed_micros(conn) == 3_000_000


def test_mark_sending__happens_once(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    [(job, submission)] = admit(conn)
    assert mark(conn, job, submission)
    assert not mark(conn, job, submission)


def test_mark_sending__not_after_the_lease_ended(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    [(job, submission)] = admit(conn)
    assert not mark(conn, job, submission, at=60)


def test_mark_sending__not_once_the_caller_canceled(conn: Connection, make_job: MakeJob, project_id: str) -> None:
    make_job()
    [(job, submission)] = admit(conn)
    jobs.cancel(conn, job.id, owner=Owner(project_id=project_id), now=T0)
    assert not mark(conn, job, submission)
    settled = settle(conn, job)
    assert settled is not None
    assert settled.state is JobState.CANCELED


def test_settle__accepted_begins_the_generation(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    job = generating(conn, credits_used=5_000_000)
    assert (job.state, job.generation_id, job.lease_token) == (JobState.GENERATING, "g1", None)
    assert (job.charged_micros, job.charge_basis) == (2_500_000, "reported")
    assert job.due_at == job.started_at
    assert job.expected_seconds is not None


def test_settle__a_paid_answer_counts_without_a_lease(conn: Connection, make_job: MakeJob) -> None:
    """The worker was stopped past its lease, the sweep gave up on it, and then the answer came after all."""
    make_job()
    job, submission = sending(conn)
    swept = settle(conn, job)
    assert swept is not None
    assert swept.state is JobState.UNCONFIRMED
    accept(conn, submission)
    adopted = settle(conn, job, token=None)
    assert adopted is not None
    assert (adopted.state, adopted.generation_id) == (JobState.GENERATING, "g1")


def test_settle__without_the_lease_nothing_else_moves(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    job, submission = sending(conn)
    failed(conn, submission, NotSent("refused"))
    assert settle(conn, job, token="stale") is None
    assert settle(conn, job) is not None


def test_settle__prepared_was_never_sent(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    [(job, _)] = admit(conn)
    settled = settle(conn, job)
    assert settled is not None
    assert (settled.state, settled.lease_token) == (JobState.QUEUED, None)
    [(_, again)] = admit(conn, now=later(6), token="t2")
    assert again.n == 2


def test_settle__sending_without_an_answer_is_unconfirmed_and_stays(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    job, _ = sending(conn)
    settled = settle(conn, job)
    assert settled is not None
    assert settled.state is JobState.UNCONFIRMED
    assert settle(conn, job, token=None) is None
    assert admit(conn, now=later(10_000)) == []


@pytest.mark.parametrize(
    ("failure", "state", "code"),
    [
        (NotSent("connection refused"), JobState.QUEUED, None),
        (Unconfirmed("reset"), JobState.UNCONFIRMED, None),
        (refused(Refusal.INVALID_INPUT), JobState.FAILED, "invalid_input"),
        (refused(Refusal.NOT_FOUND), JobState.FAILED, "upstream_rejected"),
        (refused(Refusal.RATE_LIMITED), JobState.QUEUED, None),
        (refused(Refusal.BAD_KEY), JobState.QUEUED, None),
    ],
)
def test_settle__follows_the_failure(
    conn: Connection, make_job: MakeJob, failure: UpstreamFailure, state: JobState, code: str | None
) -> None:
    make_job()
    job, submission = sending(conn)
    failed(conn, submission, failure)
    settled = settle(conn, job)
    assert settled is not None
    assert (settled.state, settled.error_code) == (state, code)
    assert settled.billed is (False if code else None)


def test_settle__a_late_refusal_frees_an_unconfirmed_job(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    job, submission = sending(conn)
    settle(conn, job)
    failed(conn, submission, NotSent("refused"))
    settled = settle(conn, job, token=None)
    assert settled is not None
    assert settled.state is JobState.QUEUED


def test_settle__refusals_of_the_account_hold_all(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    job, submission = sending(conn)
    failed(conn, submission, refused(Refusal.BAD_KEY))
    settled = settle(conn, job)
    assert settled is not None
    assert settled.wait_reason == "upstream_key_refused"
    assert gate.read(conn).hold_reason == "upstream_key_refused"
    assert admit(conn, now=later(36), token="t2") == []
    assert gate.claim_probe(conn, now=later(34), pause=PAUSE) is None
    assert gate.claim_probe(conn, now=later(36), pause=PAUSE) is not None
    assert gate.claim_probe(conn, now=later(36), pause=PAUSE) is None
    gate.let_one_try(conn, now=later(37))
    make_job()
    [(job, submission)] = admit(conn, now=later(37), token="t2")
    assert mark(conn, job, submission, at=37)
    accept(conn, submission)
    settle(conn, job, token="t2")
    assert gate.read(conn).hold_reason is None


def test_settle__those_that_failed_together_count_as_one_hold(conn: Connection, make_job: MakeJob) -> None:
    for _ in range(3):
        make_job()
    for job, submission in admit(conn):
        assert mark(conn, job, submission)
        failed(conn, submission, NotSent("connection refused"))
        settle(conn, job)
    assert (gate.read(conn).hold_level, gate.read(conn).held_until) == (1, later(6))
    gate.let_one_try(conn, now=later(6))
    [(job, submission)] = admit(conn, now=later(6), token="t2")
    assert mark(conn, job, submission, at=6)
    failed(conn, submission, NotSent("connection refused"))
    settling.settle(conn, job.id, now=later(7), lease_token="t2")
    assert (gate.read(conn).hold_level, gate.read(conn).held_until) == (2, later(9))


def test_settle__a_repeated_generation_id_is_a_conflict(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    generating(conn, generation_id="g1")
    make_job()
    job, submission = sending(conn)
    accept(conn, submission, generation_id="g1")
    settled = settle(conn, job)
    assert settled is not None
    assert (settled.state, settled.generation_id) == (JobState.UNCONFIRMED, None)


@pytest.mark.parametrize(
    ("answer", "state"),
    [("accepted", JobState.ABANDONED), ("unconfirmed", JobState.ABANDONED), ("not_sent", JobState.CANCELED)],
)
def test_settle__obeys_a_cancel_that_came_while_sending(
    conn: Connection, make_job: MakeJob, project_id: str, answer: str, state: JobState
) -> None:
    make_job()
    job, submission = sending(conn)
    jobs.cancel(conn, job.id, owner=Owner(project_id=project_id), now=later(1))
    if answer == "accepted":
        accept(conn, submission)
    else:
        failed(conn, submission, Unconfirmed("x") if answer == "unconfirmed" else NotSent("x"))
    settled = settle(conn, job)
    assert settled is not None
    assert settled.state is state


def test_settle__an_abandoned_job_still_learns_what_was_bought(
    conn: Connection, make_job: MakeJob, project_id: str
) -> None:
    make_job()
    job, submission = sending(conn)
    jobs.cancel(conn, job.id, owner=Owner(project_id=project_id), now=later(1))
    assert settle(conn, job) is not None
    accept(conn, submission)
    adopted = settle(conn, job, token=None)
    assert adopted is not None
    assert (adopted.state, adopted.generation_id) == (JobState.ABANDONED, "g1")
    assert [due.id for due in claims.due_polls(conn, now=adopted.due_at, limit=9)] == [job.id]


def test_record_failure__never_overwrites_a_paid_answer(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    job, submission = sending(conn)
    accept(conn, submission)
    failed(conn, submission, Unconfirmed("late"))
    assert submissions.latest(conn, job).state == "accepted"


def test_record_failure__keeps_all_that_was_answered(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    job, submission = sending(conn)
    refused = Refused("slow down", refusal=Refusal.RATE_LIMITED, http_status=429, retry_after_seconds=7)
    submissions.record_failure(conn, submission.id, refused, now=later(4))
    kept = submissions.latest(conn, job)
    assert (kept.state, kept.http_status, kept.refusal) == ("refused", 429, Refusal.RATE_LIMITED)
    assert (kept.answered_at, kept.retry_after_seconds, kept.message) == (later(4), 7, "slow down")


def test_expired_submits__only_after_the_lease(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    [(job, _)] = admit(conn)
    assert claims.expired_submits(conn, now=later(59)) == []
    assert [found.id for found in claims.expired_submits(conn, now=later(60))] == [job.id]


def test_withdraw__gives_back_only_what_is_held(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    [(job, _)] = admit(conn)
    again = T0 + timedelta(seconds=10)
    back = settling.withdraw(conn, job, now=T0, due_at=again, reason="storage_unavailable")
    assert back is not None
    assert (back.state, back.due_at, back.wait_reason) == (JobState.QUEUED, again, "storage_unavailable")
    assert settling.withdraw(conn, job, now=T0, due_at=again, reason="storage_unavailable") is None
    assert conn.execute(jobs_table.select()).one().state == "queued"


def test_withdraw__not_what_another_holds_by_now(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    [(job, _)] = admit(conn)
    conn.execute(jobs_table.update().values(lease_token="t2"))
    assert settling.withdraw(conn, job, now=T0, due_at=T0, reason="storage_unavailable") is None


def test_doubts__three_in_a_row_hold_all(conn: Connection, make_job: MakeJob) -> None:
    reasons = []
    for _ in range(3):
        make_job()
        [(job, submission)] = admit(conn)
        failed(conn, submission, Unconfirmed("The answer was lost."))
        settle(conn, job)
        reasons.append(gate.reasons(conn)[0])
    assert reasons == [None, None, "upstream_failing"]
