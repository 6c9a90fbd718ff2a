"""What operators decide: nothing is booked twice by it."""

import pytest
import sqlalchemy as sa

from app.db import claims, jobs, learning, resolving, settling, submissions
from app.db.engine import Connection
from app.db.tables import strays
from app.domain.errors import Conflict, Unconfirmed
from app.domain.job import Job
from app.domain.usage_log import LoggedRequest
from tests.db.conftest import T0, MakeJob, generating, sending


def doubtful(conn: Connection) -> Job:
    """Lose the answer to the one queued job's next submission."""
    job, submission = sending(conn)
    submissions.record_failure(conn, submission.id, Unconfirmed("no answer"), now=T0)
    moved = settling.settle(conn, job.id, now=T0, lease_token=job.lease_token)
    assert moved is not None
    return moved


def test_attach__what_was_booked_as_a_stray_is_booked_no_more(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    first = doubtful(conn)
    resolving.not_created(conn, first.id, by="ann", now=T0)
    second = doubtful(conn)
    row = LoggedRequest(
        request_id=f"rly:d1:{first.id}:1",
        inference_id="g1",
        succeeded=True,
        model="veo2",
        credits=4_000_000,
        created_at=T0,
    )
    assert learning.learn(conn, [row], deployment="d1", now=T0) == "stray"
    assert jobs.lock(conn, second.id).extra_micros == 2_000_000
    resolving.claim_generation(conn, second.id, generation_id="g1", by="ann", now=T0)
    attached = resolving.attach(conn, second.id, now=T0)
    assert attached is not None
    assert (attached.state, attached.generation_id, attached.extra_micros) == ("generating", "g1", 0)
    assert conn.execute(sa.select(strays)).all() == []


def test_attach__a_generation_that_became_another_jobs_meanwhile_is_a_conflict(
    conn: Connection, make_job: MakeJob
) -> None:
    make_job()
    lost = doubtful(conn)
    resolving.claim_generation(conn, lost.id, generation_id="g1", by="ann", now=T0)
    make_job()
    generating(conn, generation_id="g1")
    with pytest.raises(Conflict, match="belongs to"):
        resolving.attach(conn, lost.id, now=T0)


def test_attach__of_a_job_that_was_decided_meanwhile_changes_nothing(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    lost = doubtful(conn)
    resolving.claim_generation(conn, lost.id, generation_id="g1", by="ann", now=T0)
    given_up = resolving.give_up(conn, lost.id, by="bob", now=T0)
    assert resolving.attach(conn, lost.id, now=T0) is None
    assert jobs.lock(conn, lost.id) == given_up


def test_not_created__a_job_searched_for_in_vain_takes_its_place_again(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    lost = doubtful(conn)
    jobs.note(conn, lost, type="job.unresolved", now=T0, data={}, search_ended_at=T0)
    assert claims.places_taken(conn) == 0
    resolving.not_created(conn, lost.id, by="ann", now=T0)
    sending(conn)
    assert claims.places_taken(conn) == 1
