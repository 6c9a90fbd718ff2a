"""Keys and projects that end: what they have queued is canceled, what left or was bought is settled."""

import pytest

from app.db import access, jobs, revoking, settling, submissions
from app.db.access import Key
from app.db.engine import Connection
from app.domain.errors import NotSent
from app.domain.job import Job
from app.domain.secrets import DEFAULT_SCOPES
from app.domain.states import JobState
from tests.db.conftest import T0, MakeJob, admit, later, sending


@pytest.fixture
def key(conn: Connection, project_id: str) -> Key:
    return access.create_key(conn, project_id=project_id, name="web", scopes=DEFAULT_SCOPES, now=T0)[0]


def state(conn: Connection, job: Job) -> JobState:
    return jobs.lock(conn, job.id).state


def cancel(conn: Connection, key: Key, *, limit: int = 9) -> int:
    reason = "key_revoked"
    return revoking.cancel_unsent(conn, project_id=key.project_id, key_id=key.id, reason=reason, now=T0, limit=limit)


def test_cancel_unsent__what_the_key_and_its_tokens_have_queued(
    conn: Connection, key: Key, make_job: MakeJob, project_id: str
) -> None:
    mine = [make_job(key_id=key.id), make_job(key_id=key.id, token_id="tok_1"), make_job(key_id=key.id)]
    others = make_job()
    assert [cancel(conn, key, limit=2), cancel(conn, key, limit=2), cancel(conn, key)] == [2, 1, 0]
    assert {state(conn, job) for job in mine} == {JobState.CANCELED}
    assert state(conn, others) is JobState.QUEUED
    whole = {"project_id": project_id, "reason": "project_archived", "now": T0, "limit": 9}
    assert revoking.cancel_unsent(conn, **whole) == 1
    assert state(conn, others) is JobState.CANCELED


def test_cancel_unsent__a_request_that_is_prepared_never_leaves(conn: Connection, key: Key, make_job: MakeJob) -> None:
    make_job(key_id=key.id)
    [(job, submission)] = admit(conn)
    assert [cancel(conn, key), cancel(conn, key)] == [1, 0]
    assert not submissions.mark_sending(conn, job, submission, now=T0, lease_expires_at=later(60))
    settled = settling.settle(conn, job.id, now=T0, lease_token=job.lease_token)
    assert settled is not None and settled.state is JobState.CANCELED


def test_cancel_unsent__what_has_left_is_let_be_and_kept(conn: Connection, key: Key, make_job: MakeJob) -> None:
    make_job(key_id=key.id)
    job, submission = sending(conn)
    assert cancel(conn, key) == 0
    submissions.record_accepted(conn, submission.id, now=T0, generation_id="g", inference_id=None, credits=None)
    settled = settling.settle(conn, job.id, now=T0, lease_token=job.lease_token)
    assert settled is not None and settled.state is JobState.GENERATING


@pytest.mark.parametrize("ended", ["key with its jobs", "project", "key alone", "nothing"])
def test_settle__what_comes_back_unbought_is_not_queued_for_who_has_ended(
    conn: Connection, key: Key, make_job: MakeJob, ended: str
) -> None:
    make_job(key_id=key.id)
    job, submission = sending(conn)
    if ended == "project":
        access.archive_project(conn, "film", now=T0)
    elif ended != "nothing":
        access.revoke_key(conn, key.id, now=T0, cancel_queued=ended == "key with its jobs")
    submissions.record_failure(conn, submission.id, NotSent("refused"), now=T0)
    settled = settling.settle(conn, job.id, now=T0, lease_token=job.lease_token)
    expected = JobState.CANCELED if ended in ("project", "key with its jobs") else JobState.QUEUED
    assert settled is not None and settled.state is expected


def test_archive__is_for_good_and_says_when(conn: Connection, project_id: str) -> None:
    assert access.archive_project(conn, "film", now=T0).archived_at == T0
    assert access.archive_project(conn, "film", now=later(9)).archived_at == T0
