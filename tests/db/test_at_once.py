"""Two changes of the same rows in the same moment: on Postgres the one waits for the other, and sees what it did."""

import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from app.api.callers import Caller
from app.db import jobs, resolving, webhooks
from app.db.engine import Connection, Database
from app.db.tables import deliveries, events
from app.db.tables import webhooks as table
from app.domain.errors import Conflict
from app.domain.job import Job
from app.domain.sealing import Sealer
from app.domain.states import JobState
from tests.factories import make_caller, make_job

WAITING = sa.text(
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


@pytest.fixture
def database_kind() -> str:
    """SQLite's one writer takes them in turn anyway."""
    return "postgres"


@pytest.fixture
def caller(database: Database) -> Caller:
    return make_caller(database)[0]


@pytest.fixture
def hook_id(database: Database, caller: Caller) -> str:
    url = "https://93.184.216.34/"
    with database.transaction() as conn:
        now = database.now(conn)
        return webhooks.create(conn, caller.key, url=url, events=None, sealer=Sealer(b"s"), now=now)[0].id


def while_open(
    database: Database, first: Callable[[Connection], object], second: Callable[[], object]
) -> list[Exception]:
    """Begin the second while the first is done but not committed; let both end, and return what the second raised."""
    failures: list[Exception] = []

    def run() -> None:
        try:
            second()
        except Exception as error:  # noqa: BLE001  # whatever it was, the test says so
            failures.append(error)

    thread = threading.Thread(target=run)
    with database.transaction() as conn:
        first(conn)
        thread.start()
        while thread.is_alive():
            with database.engine.connect() as watching:
                if watching.execute(WAITING).scalar_one():
                    break
    thread.join(30)
    assert not thread.is_alive(), "it still waits"
    return failures


def left(database: Database) -> tuple[int, int, int]:
    with database.transaction() as conn:
        counts = [
            conn.execute(sa.select(sa.func.count()).select_from(t)).scalar_one() for t in (events, table, deliveries)
        ]
    return counts[0], counts[1], counts[2]


def test_event__of_the_moment_in_which_its_endpoint_is_deleted(
    database: Database, caller: Caller, hook_id: str
) -> None:
    failures = while_open(
        database,
        lambda conn: webhooks.delete(conn, caller.key, hook_id),
        lambda: make_job(database, caller),
    )
    assert failures == []
    assert left(database) == (1, 0, 0)


def test_delete__of_an_endpoint_to_which_something_is_being_owed(
    database: Database, caller: Caller, hook_id: str
) -> None:
    def delete() -> None:
        with database.transaction() as conn:
            webhooks.delete(conn, caller.key, hook_id)

    assert while_open(database, lambda conn: owe_one(conn, database, caller), delete) == []
    assert left(database) == (1, 0, 0)


def test_resolve__two_operators_at_once_decide_once(database: Database, caller: Caller) -> None:
    job = make_job(database, caller, state=JobState.UNCONFIRMED)

    def say_not_created() -> None:
        with database.transaction() as conn:
            resolving.not_created(conn, job.id, by="bob", now=database.now(conn))

    [refusal] = while_open(
        database, lambda conn: resolving.give_up(conn, job.id, by="ann", now=database.now(conn)), say_not_created
    )
    assert isinstance(refusal, Conflict)
    with database.transaction() as conn:
        assert jobs.lock(conn, job.id).state is JobState.FAILED


def owe_one(conn: Connection, database: Database, caller: Caller) -> None:
    """Make a job in this transaction."""
    now = database.now(conn)
    job = Job(
        id="job_1",
        project_id=caller.key.project_id,
        model="veo2",
        input={},
        upstream_path="/v2",
        due_at=now,
        created_at=now,
    )
    jobs.insert(conn, job)
