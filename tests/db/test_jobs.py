"""Insert, read, page, move and cancel."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from app.db import access, events, jobs, queue, schema
from app.db.engine import Connection, Database
from app.db.jobs import Filter, Owner
from app.db.likeness import Alike
from app.db.tables import jobs as jobs_table
from app.domain.errors import Conflict, InvalidRequest, NotFound
from app.domain.ids import new_id
from app.domain.job import Job, Priority
from app.domain.states import TRANSITIONS, JobState, may_move
from tests.db.conftest import T0, MakeJob, admit, generating, later, sending


def types(conn: Connection, job_id: str) -> list[str]:
    return [event.type for event in events.of_job(conn, job_id)]


def test_insert__reads_back_the_same_job(conn: Connection, make_job: MakeJob, project_id: str) -> None:
    made = make_job(metadata={"order": "A-17"}, priority=Priority.HIGH, subject="ann", input={"prompt": "Ünï \u2028"})
    assert jobs.get(conn, made.id, owner=Owner(project_id=project_id)) == made
    assert types(conn, made.id) == ["job.created"]


def test_get__another_projects_or_subjects_job_is_not_found(conn: Connection, make_job: MakeJob) -> None:
    job = make_job(subject="ann")
    other = access.create_project(conn, "other", now=T0).id
    for owner in (Owner(project_id=other), Owner(project_id=job.project_id, subject="bob")):
        with pytest.raises(NotFound):
            jobs.get(conn, job.id, owner=owner)
    assert jobs.get(conn, job.id, owner=Owner(project_id=job.project_id, subject="ann")) == job


def test_advance__moves_once_per_version(conn: Connection, make_job: MakeJob) -> None:
    job = make_job()
    moved = jobs.advance(conn, job, to=JobState.CANCELED, now=later(1))
    assert moved is not None
    assert (moved.state, moved.version, moved.finished_at) == (JobState.CANCELED, 2, later(1))
    assert jobs.advance(conn, job, to=JobState.CANCELED, now=later(2)) is None
    assert types(conn, job.id) == ["job.created", "job.canceled"]


def test_advance__a_lost_lease_moves_nothing(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    [(job, _)] = admit(conn)
    conn.execute(jobs_table.update().values(lease_token="somebody else's"))
    assert jobs.advance(conn, job, to=JobState.UNCONFIRMED, now=T0) is None
    assert types(conn, job.id) == ["job.created", "job.submitting"]


def test_advance__refuses_what_the_table_does_not_allow(conn: Connection, make_job: MakeJob) -> None:
    job = make_job()
    for to in JobState:
        if not may_move(JobState.QUEUED, to):
            with pytest.raises(ValueError, match="never goes"):
                jobs.advance(conn, job, to=to, now=T0)


@pytest.mark.parametrize("state", sorted(TRANSITIONS))
def test_constraint__a_final_state_and_finished_at_go_together(
    conn: Connection, make_job: MakeJob, state: JobState
) -> None:
    job = make_job()
    ended = state in ("succeeded", "failed", "canceled", "abandoned")
    changes = {"finished_at": None if ended else T0, "state": state, "generation_id": "g", "started_at": T0}
    with pytest.raises(IntegrityError):
        conn.execute(jobs_table.update().where(jobs_table.c.id == job.id).values(changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "dreaming"},
        {"state": "generating"},
        {"lease_token": "t"},
        {"lease_token": "t", "lease_expires_at": T0},
        {"error_code": "upstream_failed"},
        {"charged_micros": -1, "charge_basis": "reported"},
        {"charged_micros": 1},
        {"charged_micros": 1, "charge_basis": "guessed"},
        {"state": "failed", "finished_at": T0},
    ],
)
def test_constraint__refuses_a_row_that_makes_no_sense(
    conn: Connection, make_job: MakeJob, changes: dict[str, object]
) -> None:
    job = make_job()
    with pytest.raises(IntegrityError):
        conn.execute(jobs_table.update().where(jobs_table.c.id == job.id).values(changes))


def test_page__keyset_pages_hold_while_jobs_are_added(conn: Connection, make_job: MakeJob, project_id: str) -> None:
    made = [make_job().id for _ in range(5)]
    owner = Owner(project_id=project_id)
    first = jobs.page(conn, owner=owner, filter=Filter(), limit=2)
    make_job()
    second = jobs.page(conn, owner=owner, filter=Filter(), limit=2, after=first.jobs[-1].id)
    third = jobs.page(conn, owner=owner, filter=Filter(), limit=2, after=second.jobs[-1].id)
    assert [job.id for page in (first, second, third) for job in page.jobs] == made[::-1]
    assert [page.has_more for page in (first, second, third)] == [True, True, False]


def test_page__ascending_and_a_foreign_cursor(conn: Connection, make_job: MakeJob, project_id: str) -> None:
    made = [make_job().id for _ in range(3)]
    page = jobs.page(conn, owner=Owner(project_id=project_id), filter=Filter(), limit=9, after=made[0], order="asc")
    assert [job.id for job in page.jobs] == made[1:]
    other = access.create_project(conn, "other", now=T0).id
    with pytest.raises(InvalidRequest) as caught:
        jobs.page(conn, owner=Owner(project_id=other), filter=Filter(), limit=9, after=made[0])
    assert caught.value.param == "after"


def test_page__filters(conn: Connection, make_job: MakeJob, project_id: str) -> None:
    old = make_job(created_at=later(-100))
    tagged = make_job(metadata={"order": "A-17", "x": "1"}, model="veo2/image-to-video")
    canceled = make_job()
    jobs.advance(conn, canceled, to=JobState.CANCELED, now=T0)

    def ids(found: Filter) -> set[str]:
        page = jobs.page(conn, owner=Owner(project_id=project_id), filter=found, limit=9)
        return {job.id for job in page.jobs}

    assert ids(Filter(created_before=T0)) == {old.id}
    assert ids(Filter(created_after=T0 - timedelta(seconds=1))) == {tagged.id, canceled.id}
    assert ids(Filter(metadata={"order": "A-17"})) == {tagged.id}
    assert ids(Filter(metadata={"order": "A-17", "x": "2"})) == set()
    assert ids(Filter(model="veo2/image-to-video")) == {tagged.id}
    assert ids(Filter(states=frozenset({JobState.CANCELED}))) == {canceled.id}
    assert ids(Filter(states=frozenset())) == set()


def test_queue_positions__count_those_ahead_in_the_project(conn: Connection, make_job: MakeJob) -> None:
    first, second, urgent = make_job(), make_job(), make_job(priority=Priority.HIGH)
    places = {urgent.id: 1, first.id: 2, second.id: 3}
    assert queue.positions(conn, [first, second, urgent]) == places
    for job in (first, second, urgent):
        assert queue.positions(conn, [job]) == {job.id: places[job.id]}
    assert queue.positions(conn, [second], at_most=1) == {second.id: 2}
    assert queue.positions(conn, [first, second], at_most=1) == {first.id: 2, second.id: 2}


def test_cancel__queued_ends_at_once_and_again_is_the_same(
    conn: Connection, make_job: MakeJob, project_id: str
) -> None:
    job, owner = make_job(), Owner(project_id=project_id)
    canceled = jobs.cancel(conn, job.id, owner=owner, now=later(1))
    assert (canceled.state, canceled.settled) == (JobState.CANCELED, True)
    assert jobs.cancel(conn, job.id, owner=owner, now=later(2)) == canceled


def test_cancel__while_submitting_it_is_noted_once(conn: Connection, make_job: MakeJob, project_id: str) -> None:
    make_job()
    job, _ = sending(conn)
    for _ in range(2):
        noted = jobs.cancel(conn, job.id, owner=Owner(project_id=project_id), now=later(3))
        assert (noted.state, noted.cancel_requested_at) == (JobState.SUBMITTING, later(3))
    assert types(conn, job.id).count("job.cancel_requested") == 1


def test_cancel__what_was_bought_is_abandoned_and_still_watched(
    conn: Connection, make_job: MakeJob, project_id: str
) -> None:
    make_job()
    job = generating(conn)
    canceled = jobs.cancel(conn, job.id, owner=Owner(project_id=project_id), now=later(1))
    assert (canceled.state, canceled.finished_at, canceled.due_at) == (JobState.ABANDONED, later(1), job.due_at)
    assert not canceled.settled


def test_cancel__too_late_while_saving(conn: Connection, make_job: MakeJob, project_id: str) -> None:
    make_job()
    jobs.advance(conn, generating(conn), to=JobState.SAVING, now=T0)
    [saving] = jobs.page(conn, owner=Owner(project_id=project_id), filter=Filter(), limit=1).jobs
    with pytest.raises(Conflict):
        jobs.cancel(conn, saving.id, owner=Owner(project_id=project_id), now=T0)


def test_insert__only_what_is_to_be_bought(conn: Connection, make_job: MakeJob) -> None:
    for state in set(JobState) - {JobState.QUEUED}:
        with pytest.raises(ValueError, match="is not made as"):
            make_job(state=state)
    assert conn.execute(sa.select(sa.func.count()).select_from(jobs_table)).scalar_one() == 0


def test_insert_reused__ends_as_it_begins(conn: Connection, make_job: MakeJob, project_id: str) -> None:
    original = replace(make_job(), video_seconds=5.0)
    asked = replace(original, id=new_id("job"), start_by=later(60), reserved_micros=7, estimated_micros=7)
    made = jobs.insert_reused(conn, asked, original=original, video={"key": "videos/copy.mp4"})
    assert jobs.get(conn, made.id, owner=Owner(project_id=project_id)) == made
    assert (made.state, made.reused_from, made.finished_at) == (JobState.SUCCEEDED, original.id, T0)
    assert (made.held_micros, made.spent_micros, made.settled, made.start_by) == (0, 0, True, None)
    assert types(conn, made.id) == ["job.created", "job.succeeded"]
    assert [job.id for job, _ in admit(conn)] == [original.id]
    for to in JobState:
        with pytest.raises(ValueError, match="never goes"):
            jobs.advance(conn, made, to=to, now=T0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"reused_from": None},
        {"generation_id": "g"},
        {"attempts": 1},
        {"state": "failed", "error_code": "c", "video": None},
        {"state": "generating", "finished_at": None, "video": None},
    ],
    ids=str,
)
def test_checks__a_success_is_bought_or_reused(conn: Connection, make_job: MakeJob, wrong: dict[str, Any]) -> None:
    original = make_job()
    made = jobs.insert_reused(conn, replace(original, id=new_id("job")), original=original, video={"key": "k"})
    with pytest.raises(IntegrityError), conn.begin_nested():
        conn.execute(jobs_table.update().where(jobs_table.c.id == made.id).values(wrong))


def test_migration__changes_the_check_and_keeps_the_rows(database: Database) -> None:
    """Also on connections that were open before, and back again, where each success has a generation."""
    with database.transaction() as conn:
        project_id = access.create_project(conn, "film", now=T0).id
        job = Job(
            id="job_1", project_id=project_id, model="veo2", input={}, upstream_path="/", due_at=T0, created_at=T0
        )
        jobs.insert(conn, job)
        jobs.insert_reused(conn, replace(job, id="job_2"), original=job, video={"key": "k"})
    with database.transaction() as conn:
        known = schema.revisions()
        schema.downgrade(conn, to=known[known.index("0010") + 1])
    older = sa.text("SELECT id, state, generation_id FROM jobs ORDER BY id")
    unbought = sa.text("UPDATE jobs SET generation_id = NULL WHERE id = 'job_2'")
    with database.transaction() as conn:
        assert conn.execute(older).all() == [("job_1", "queued", None), ("job_2", "succeeded", "job_2")]
        with pytest.raises(IntegrityError), conn.begin_nested():
            conn.execute(unbought)
    with database.transaction() as conn:
        schema.upgrade(conn)
    with database.transaction() as conn:
        assert jobs.lock(conn, "job_1") == replace(job, event_count=1)
        with pytest.raises(IntegrityError), conn.begin_nested():
            conn.execute(unbought)
        conn.execute(sa.text("UPDATE jobs SET generation_id = NULL, reused_from = 'job_1' WHERE id = 'job_2'"))
        if database.is_sqlite:
            assert conn.execute(sa.text("PRAGMA integrity_check")).scalar_one() == "ok"


def test_newest__is_found_by_its_index(conn: Connection, project_id: str) -> None:
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql("SET LOCAL enable_seqscan = off")
        conn.exec_driver_sql("DROP INDEX ix_jobs_page")  # in an empty table it is as good
    for subject in (None, "ann"):
        alike = Alike(project_id=project_id, subject=subject, likeness="l", finished_after=T0)
        query = sa.select(jobs_table.c.id).where(*alike.clauses()).order_by(jobs_table.c.id.desc()).limit(1)
        text = str(query.compile(conn, compile_kwargs={"literal_binds": True}))
        word = "EXPLAIN QUERY PLAN" if conn.dialect.name == "sqlite" else "EXPLAIN"
        assert "ix_jobs_alike" in str(conn.exec_driver_sql(f"{word} {text}").all())
