"""Who acts in a transaction: named by what it writes, by nothing else, and told in order of time."""

import asyncio
import threading
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from app.db import access, acts, endings, jobs, trail
from app.db.engine import Connection, Database
from app.db.jobs import Owner
from app.domain.actor import ON_THE_HOST, Actor
from app.domain.job import Job
from tests.db.conftest import T0, MakeJob, later

ANN, BOB = Actor(key_id="key_ann", request_id="r1", address="192.0.2.1"), Actor(key_id="key_bob", token_id="tok_bob")


def act(conn: Connection, *, target: str = "film", now: datetime = T0, project_id: str | None = None) -> None:
    acts.note(conn, "project.limited", target=target, now=now, project_id=project_id)


def actors(conn: Connection) -> dict[str, object]:
    return {row.target: row.actor for row in conn.execute(sa.select(acts.acts))}


def test_facts__hold_only_what_is_known() -> None:
    assert ON_THE_HOST.facts() == {"on_host": True}
    assert ANN.facts() == {"key_id": "key_ann", "request_id": "r1", "address": "192.0.2.1"}


def test_note__in_nobodys_name_is_a_fault(conn: Connection) -> None:
    with pytest.raises(LookupError, match=r"project\.limited"):
        act(conn)


async def test_write__transactions_of_one_group_keep_their_actors_apart(database: Database) -> None:
    """SQLite's writer commits what waits as one transaction."""
    entered, leave = threading.Event(), threading.Event()

    def hold(_conn: Connection) -> None:
        entered.set()
        leave.wait(10)

    def service(conn: Connection) -> object:
        return acts.actor_of(conn)

    holding = asyncio.create_task(database.write(hold))
    await asyncio.to_thread(entered.wait, 10)
    waiting = [
        asyncio.create_task(database.write(lambda conn: act(conn, target="anns"), by=ANN)),
        asyncio.create_task(database.write(service)),
        asyncio.create_task(database.write(lambda conn: act(conn, target="bobs"), by=BOB)),
    ]
    await asyncio.sleep(0)
    leave.set()
    _, nobody, _ = await asyncio.gather(*waiting)
    await holding
    assert nobody is None
    assert await database.read(actors) == {"anns": ANN.facts(), "bobs": BOB.facts()}


async def test_write__what_fails_leaves_neither_act_nor_actor(database: Database) -> None:
    def fail(conn: Connection) -> None:
        act(conn)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await database.write(fail, by=ANN)
    assert await database.write(acts.actor_of) is None
    assert await database.read(actors) == {}
    with pytest.raises(ValueError, match="no"), database.transaction(by=ON_THE_HOST) as conn:
        fail(conn)
    with database.transaction() as conn:
        assert (acts.actor_of(conn), actors(conn)) == (None, {})


def test_forget_old__after_a_year(conn: Connection) -> None:
    with acts.acting(conn, ANN):
        act(conn, target="old")
        act(conn, target="young", now=T0 + timedelta(days=1))
    assert acts.forget_old(conn, now=T0 + acts.KEPT - timedelta(seconds=1), limit=10) == 0
    assert acts.forget_old(conn, now=T0 + acts.KEPT, limit=10) == 1
    assert list(actors(conn)) == ["young"]


@pytest.fixture
def storied(conn: Connection, project_id: str, make_job: MakeJob) -> Job:
    """A job that was made, canceled and deleted, each by another, among acts."""
    mine = Owner(project_id=project_id)
    with acts.acting(conn, ANN):
        job = make_job()
    with acts.acting(conn, BOB):
        act(conn, now=later(1), project_id=project_id)
        jobs.cancel(conn, job.id, owner=mine, now=later(2))
    make_job(id="job_of_the_service", created_at=later(3))
    with acts.acting(conn, ON_THE_HOST):
        endings.scrub(conn, jobs.get(conn, job.id, owner=mine), now=later(4))
        act(conn, target="upstream", now=later(5))
    return job


def test_trail__tells_both_kinds_in_order_of_time(conn: Connection, storied: Job) -> None:
    told = [(deed.action, deed.target, deed.actor) for deed in trail.read(conn, limit=100)]
    assert told == [
        ("job.created", storied.id, ANN.facts()),
        ("project.limited", "film", BOB.facts()),
        ("job.canceled", storied.id, BOB.facts()),
        ("job.deleted", storied.id, ON_THE_HOST.facts()),
        ("project.limited", "upstream", ON_THE_HOST.facts()),
    ]


def test_trail__is_narrowed(conn: Connection, project_id: str, storied: Job) -> None:
    def places(**narrowed: object) -> list[int]:
        whole = [deed.id for deed in trail.read(conn, limit=100)]
        found = trail.read(conn, **{"limit": 100} | narrowed)
        return [whole.index(deed.id) for deed in found]

    assert places(job_id=storied.id) == [0, 2, 3]
    assert places(project_id=project_id) == [0, 1, 2, 3]
    assert places(project_id=access.create_project(conn, "others", now=T0).id) == []
    assert places(since=later(2)) == [2, 3, 4]
    assert places(limit=2) == [3, 4]
