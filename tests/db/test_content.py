"""What goes with a job: its video, its uploads, its place in the queue, its timeline."""

from typing import Any

import pytest

from app.db import access, endings, events, files, jobs, outcomes, queue
from app.db.engine import Connection
from app.db.jobs import Filter, Owner
from app.domain.errors import Conflict, NotFound
from app.domain.job import File, Job, Priority
from app.domain.states import JobState
from tests.db.conftest import T0, MakeJob, generating, later


def upload(conn: Connection, project_id: str, file_id: str, *, folder: str = files.INLINE, **given: Any) -> str:
    """Write an upload's row; return where its bytes would be."""
    values: dict[str, Any] = {
        "id": file_id,
        "project_id": project_id,
        "subject": None,
        "content_type": "image/jpeg",
        "size_bytes": 1,
        "width": 1,
        "height": 1,
        "sha256": "0" * 64,
        "storage_key": f"{folder}{file_id}.jpg",
        "created_at": T0,
        "expires_at": later(60),
    }
    files.insert(conn, File(**values | given))
    return f"{folder}{file_id}.jpg"


def canceled(conn: Connection, job: Job) -> Job:
    return jobs.cancel(conn, job.id, owner=Owner(project_id=job.project_id), now=T0)


def with_image(file_id: str) -> dict[str, str]:
    return {"prompt": "A boat", "image_url": file_id}


def test_scrub__takes_the_uploads_that_only_this_job_uses(conn: Connection, make_job: MakeJob, project_id: str) -> None:
    mine, shared = upload(conn, project_id, "file_1"), upload(conn, project_id, "file_2")
    job = canceled(conn, make_job(input=with_image("file_1") | {"tail_image_url": "file_2"}))
    other = canceled(conn, make_job(input=with_image("file_2")))
    assert endings.scrub(conn, job, now=later(1)).storage_keys == [mine]
    assert list(files.get_many(conn, ["file_1", "file_2"], project_id=project_id, subject=None)) == ["file_2"]
    assert endings.scrub(conn, other, now=later(2)).storage_keys == [shared]


def test_scrub__leaves_uploads_of_their_own_and_of_others(conn: Connection, make_job: MakeJob, project_id: str) -> None:
    upload(conn, project_id, "file_1", folder="files/")
    upload(conn, access.create_project(conn, "other", now=T0).id, "file_2")
    job = canceled(conn, make_job(input=with_image("file_1") | {"tail_image_url": "file_2"}))
    assert endings.scrub(conn, job, now=later(1)).storage_keys == []


def test_scrub__an_id_that_contains_the_files_is_another(conn: Connection, make_job: MakeJob, project_id: str) -> None:
    """An underscore of an id is no wildcard."""
    key = upload(conn, project_id, "file_1")
    job = canceled(conn, make_job(input=with_image("file_1")))
    make_job(input=with_image("filex1"))
    assert endings.scrub(conn, job, now=later(1)).storage_keys == [key]


def test_scrub__returns_video_and_poster(conn: Connection, make_job: MakeJob) -> None:
    make_job()
    saving = jobs.advance(conn, generating(conn), to=JobState.SAVING, now=T0)
    assert saving is not None
    with pytest.raises(Conflict):
        endings.scrub(conn, saving, now=later(1))
    video = {"key": "videos/1.mp4", "poster_key": "videos/1.jpg"}
    saved = jobs.advance(conn, saving, to=JobState.SUCCEEDED, now=T0, video=video)
    assert saved is not None
    assert endings.scrub(conn, saved, now=later(1)).storage_keys == ["videos/1.mp4", "videos/1.jpg"]


def test_get_many__finds_the_owners_only(conn: Connection, project_id: str) -> None:
    upload(conn, project_id, "file_1", subject="ann")
    upload(conn, project_id, "file_2")
    both = ["file_1", "file_2", "file_3"]
    assert list(files.get_many(conn, both, project_id=project_id, subject=None, lock=True)) == both[:2]
    assert list(files.get_many(conn, both, project_id=project_id, subject="ann", lock=True)) == ["file_1"]
    assert files.get_many(conn, both, project_id="other", subject=None) == {}


def test_queue_positions__follow_priority_and_age_up_to_a_limit(conn: Connection, make_job: MakeJob) -> None:
    made = [make_job(), make_job(), make_job(priority=Priority.HIGH), canceled(conn, make_job())]
    expected = {made[2].id: 1, made[0].id: 2, made[1].id: 3}
    assert queue.positions(conn, made) == expected
    assert queue.positions(conn, made, at_most=1) == {made[2].id: 1, made[0].id: 2, made[1].id: 2}
    assert queue.positions(conn, made[3:]) == {}


def test_page__goes_on_after_a_deleted_job(conn: Connection, make_job: MakeJob, project_id: str) -> None:
    older, deleted = make_job(), canceled(conn, make_job())
    endings.scrub(conn, deleted, now=later(1))
    page = jobs.page(conn, owner=Owner(project_id=project_id), filter=Filter(), limit=5, after=deleted.id)
    assert [job.id for job in page.jobs] == [older.id]


def test_number_of__is_within_the_job(conn: Connection, make_job: MakeJob) -> None:
    job, other = canceled(conn, make_job()), make_job()
    last = events.of_job(conn, job.id)[-1]
    assert events.number_of(conn, job.id, last.id) == 2
    assert events.number_of(conn, other.id, last.id) is None
    assert events.number_of(conn, job.id, "evt_unknown") is None


def test_get_project__by_id(conn: Connection, project_id: str) -> None:
    assert access.get_project(conn, project_id).name == "film"
    with pytest.raises(NotFound):
        access.get_project(conn, "proj_unknown")


def test_remains__are_named_until_they_are_buried(conn: Connection, make_job: MakeJob, project_id: str) -> None:
    upload(conn, project_id, "file_1")
    make_job(input=with_image("file_1"))
    saving = jobs.advance(conn, generating(conn), to=JobState.SAVING, now=T0)
    assert saving is not None
    saved = jobs.advance(conn, saving, to=JobState.SUCCEEDED, now=T0, video={"key": "videos/1.mp4"})
    assert saved is not None
    remains = endings.scrub(conn, saved, now=later(1))
    assert [left.storage_keys for left in endings.unburied(conn, limit=9)] == [["videos/1.mp4"]]
    assert files.condemn_expired(conn, now=later(1), keep_used_until=later(99), limit=9)[0].id == "file_1"
    endings.buried(conn, remains)
    assert endings.unburied(conn, limit=9) == []
    assert files.condemn_expired(conn, now=later(1), keep_used_until=later(99), limit=9) == []


def test_buried__forgets_the_video_of_that_job_alone(conn: Connection, make_job: MakeJob) -> None:
    remains = []
    for name in ("1", "2"):
        make_job()
        saving = jobs.advance(conn, generating(conn, generation_id=name), to=JobState.SAVING, now=T0)
        saved = outcomes.saved(conn, saving, video={"key": f"videos/{name}.mp4"}, now=T0) if saving else None
        assert saved is not None
        remains.append(endings.scrub(conn, saved, now=later(1)))
    endings.buried(conn, remains[0])
    assert [left.storage_keys for left in endings.unburied(conn, limit=9)] == [["videos/2.mp4"]]


def test_condemned__nobody_can_use_it_any_more(conn: Connection, make_job: MakeJob, project_id: str) -> None:
    upload(conn, project_id, "file_1")
    job = make_job(input=with_image("file_1"))
    files.condemn(conn, ["file_1"], now=T0)
    assert files.get_many(conn, ["file_1"], project_id=project_id, subject=None) == {}
    assert files.of_job(conn, job.id) == {"file_1": None}


def test_condemn_expired__keeps_what_an_unfinished_job_needs(
    conn: Connection, make_job: MakeJob, project_id: str
) -> None:
    for name in ("file_1", "file_2"):
        upload(conn, project_id, name, expires_at=T0)
    make_job(input=with_image("file_1"))
    canceled(conn, make_job(input=with_image("file_2")))
    assert [file.id for file in files.condemn_expired(conn, now=T0, keep_used_until=later(50), limit=9)] == ["file_2"]
    assert "file_1" in files.get_many(conn, ["file_1"], project_id=project_id, subject=None)
