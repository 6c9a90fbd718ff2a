"""Migrations run up and down, and the database they build is the one the tables describe."""

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from app.db import access, events, jobs, schema
from app.db.engine import Database
from app.db.tables import metadata
from app.domain.states import JobState
from tests.factories import make_caller, make_job


def checks(database: Database) -> set[tuple[str, str]]:
    """Return the named CHECK constraints of every table."""
    inspector = sa.inspect(database.engine)
    return {
        (table, str(check["name"])) for table in metadata.tables for check in inspector.get_check_constraints(table)
    }


def test_migrations__down_and_up_again(database: Database) -> None:
    with database.transaction() as conn:
        assert schema.is_ready(conn)
        schema.downgrade(conn)
    assert set(sa.inspect(database.engine).get_table_names()) == {"alembic_version"}
    with database.transaction() as conn:
        assert not schema.is_ready(conn)
        schema.upgrade(conn)
        assert schema.current(conn) == schema.head()


def test_migrations__each_step_keeps_the_jobs(database: Database) -> None:
    """Down to the first and up again, a revision at a time, each with the rows that the others left."""
    caller, key = make_caller(database)
    made = [make_job(database, caller, state=state) for state in JobState]
    newest_first = schema.revisions()
    for revision in newest_first[1:]:
        with database.transaction() as conn:
            schema.downgrade(conn, to=revision)
    for revision in reversed(newest_first):
        with database.transaction() as conn:
            schema.upgrade(conn, to=revision)
    with database.transaction() as conn:
        kept = {job.id: jobs.get(conn, job.id, owner=caller.owner).state for job in made}
        assert access.find_key(conn, key) is not None
        assert [event.type for event in events.of_job(conn, made[0].id)] == ["job.created"]
    assert kept == {job.id: job.state for job in made}


def test_migrations__leave_nothing_to_generate(database: Database) -> None:
    with database.transaction() as conn:
        assert schema.differences(conn) == []


def test_migrations__write_every_check_constraint(database: Database) -> None:
    described = {
        (table.name, str(constraint.name))
        for table in metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, sa.CheckConstraint)
    }
    assert checks(database) == {(table, f"{name}") for table, name in described}


@pytest.mark.parametrize("state", sorted(JobState))
def test_check_of_states__knows_every_state(database: Database, state: JobState) -> None:
    inspector = sa.inspect(database.engine)
    [text] = [c["sqltext"] for c in inspector.get_check_constraints("jobs") if c["name"] == "ck_jobs_state"]
    assert f"'{state}'" in text


def test_revisions__are_those_that_alembic_finds_in_the_files() -> None:
    found = ScriptDirectory(str(schema.ROOT / "migrations")).walk_revisions()
    assert schema.revisions() == [script.revision for script in found]


def test_is_ready__a_newer_schema_still_serves_an_older_build(database: Database) -> None:
    with database.transaction() as conn:
        conn.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        assert schema.is_ready(conn)
        conn.rollback()  # the next test's database is this one
