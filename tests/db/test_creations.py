"""What is known again, by whose key, for how long; and which tries are one request."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from app.db import creations
from app.db.creations import Asked, Creation
from app.db.engine import Connection
from app.db.tables import creations as table
from tests.db.conftest import T0, later

ASKED = Asked(
    project_id="p1",
    subject="",
    key_id="k1",
    fingerprint="f1",
    idempotency_key="order 17",
    retry_count=0,
    arrived=0.0,
)
DAY = timedelta(hours=24)


def remember(conn: Connection, asked: Asked = ASKED, *, made: str = "job_1", seconds: float = 0) -> Creation | None:
    answer = None if asked.idempotency_key is None else f"the answer of {made}"
    return creations.remember(conn, asked, made_id=made, answer=answer, now=later(seconds))


def tried(count: int) -> Asked:
    """A try without an idempotency key."""
    return replace(ASKED, idempotency_key=None, retry_count=count)


def join(conn: Connection, asked: Asked, *, seconds: float, waited: float = 0) -> str | None:
    return creations.join(conn, asked, now=later(seconds), waited=timedelta(seconds=waited))


def test_remember__keeps_the_first(conn: Connection) -> None:
    assert creations.find(conn, ASKED, now=T0) is None
    assert remember(conn) is None
    first = Creation("job_1", "f1", "the answer of job_1")
    assert remember(conn, replace(ASKED, fingerprint="f2"), made="job_2") == first
    assert creations.find(conn, ASKED, now=T0 + DAY - timedelta(seconds=1)) == first


@pytest.mark.parametrize("other", [{"project_id": "p2"}, {"subject": "ann"}, {"idempotency_key": "order 18"}])
def test_remember__a_key_is_its_owners(conn: Connection, other: dict[str, str]) -> None:
    remember(conn)
    theirs = replace(ASKED, **other)
    assert creations.find(conn, theirs, now=T0) is None
    assert remember(conn, theirs, made="job_2") is None


def test_remember__a_key_belongs_to_the_project_not_to_one_credential(conn: Connection) -> None:
    remember(conn)
    assert creations.find(conn, replace(ASKED, key_id="k2"), now=T0) is not None


def test_remember__an_old_key_is_free_again_before_it_is_swept(conn: Connection) -> None:
    remember(conn)
    assert creations.find(conn, ASKED, now=T0 + DAY) is None
    again = replace(ASKED, fingerprint="f2", retry_count=3)
    assert remember(conn, again, made="job_2", seconds=DAY.total_seconds()) is None
    found = creations.find(conn, ASKED, now=T0 + DAY)
    assert found == Creation("job_2", "f2", "the answer of job_2")
    [row] = conn.execute(sa.select(table))
    assert (row.counts, row.created_at, row.expires_at) == (8, T0 + DAY, T0 + DAY + DAY)


@pytest.mark.parametrize(
    ("seen", "count", "waited", "joins"),
    [
        ([0], 0, 0, False),  # the same call, meant twice
        ([0], 0, 60, False),
        ([0], 1, 0, True),  # the retry of an original
        ([0], 7, 0, True),
        ([0, 1], 1, 0, False),  # the retry of another original
        ([0, 1], 1, 60, False),
        ([0, 1], 2, 0, True),
        ([0, 3], 2, 0, False),  # lower than one seen, and it came after
        ([0, 3], 2, 60, True),  # lower than one seen, and had to wait behind it
        ([1], 0, 60, True),  # the original that waited behind its own retry
        ([1], 0, 9, False),  # an original that came after the job was made
        ([1, 0], 0, 60, False),
        ([0, 30], 31, 0, True),  # above the last bit every try is a retry
        ([0, 31], 32, 0, True),
        ([0, 31], 40, 0, True),
        ([30], 30, 0, False),
        ([30], 29, 60, True),
    ],
)
def test_join__takes_each_try_once(conn: Connection, seen: list[int], count: int, waited: float, joins: bool) -> None:
    first, *more = seen
    remember(conn, tried(first))
    for known in more:
        assert join(conn, tried(known), seconds=1, waited=60) == "job_1"
    assert join(conn, tried(count), seconds=10, waited=waited) == ("job_1" if joins else None)


def test_join__a_retry_of_one_subject_is_none_of_anothers(conn: Connection) -> None:
    """People who sign in elsewhere share one credential."""
    remember(conn, replace(tried(0), subject="ann"))
    assert join(conn, replace(tried(1), subject="bob"), seconds=1) is None
    assert join(conn, replace(tried(1), subject="ann"), seconds=1) == "job_1"


def test_join__takes_the_newest_that_has_room(conn: Connection) -> None:
    remember(conn, tried(0), made="job_1")
    remember(conn, tried(0), made="job_2", seconds=1)
    assert join(conn, tried(1), seconds=2) == "job_2"
    assert join(conn, tried(1), seconds=2) == "job_1"
    assert join(conn, tried(1), seconds=2) is None


def test_join__is_over_after_ten_minutes(conn: Connection) -> None:
    remember(conn, tried(0))
    assert join(conn, tried(1), seconds=599) == "job_1"
    assert join(conn, tried(2), seconds=600) is None


@pytest.mark.parametrize("other", [{"key_id": "k2"}, {"fingerprint": "f2"}])
def test_join__only_the_same_request_of_the_same_credential(conn: Connection, other: dict[str, str]) -> None:
    remember(conn, tried(0))
    assert join(conn, replace(tried(1), **other), seconds=1) is None


def test_join__leaves_what_has_an_idempotency_key(conn: Connection) -> None:
    remember(conn)
    assert join(conn, tried(1), seconds=1) is None


def test_scrub__the_key_stands_for_nothing_that_can_be_shown(conn: Connection) -> None:
    remember(conn)
    remember(conn, tried(0), made="job_2")
    for made in ("job_1", "job_2"):
        creations.scrub(conn, made)
    assert creations.find(conn, ASKED, now=T0) == Creation("job_1", "", None)
    assert join(conn, tried(1), seconds=1) is None


def test_answer_of__is_what_was_stored(conn: Connection) -> None:
    remember(conn)
    remember(conn, tried(0), made="job_2")
    answers = [creations.answer_of(conn, made) for made in ("job_1", "job_2", "job_3")]
    assert answers == ["the answer of job_1", None, None]


def test_forget_expired__drops_the_oldest_first(conn: Connection) -> None:
    for n in range(3):
        remember(conn, tried(0), made=f"job_{n}", seconds=n)
    remember(conn, made="job_keyed")
    assert creations.forget_expired(conn, now=later(599), limit=10) == 0
    assert creations.forget_expired(conn, now=later(700), limit=2) == 2
    left = set(conn.execute(sa.select(table.c.made_id)).scalars())
    assert left == {"job_2", "job_keyed"}
    assert creations.forget_expired(conn, now=T0 + DAY, limit=10) == 2


def test_remember__what_another_request_had_made(conn: Connection) -> None:
    remember(conn)
    for key in ("k2", "k3"):
        told = replace(ASKED, idempotency_key=key)
        noted = creations.remember(conn, told, made_id=f"echo_{key}", answer="told", now=T0, stands_for="job_1")
        assert noted is None
        assert creations.find(conn, told, now=T0) == Creation("job_1", "f1", "told", is_echo=True)
    creations.scrub(conn, "job_1")
    assert creations.find(conn, replace(ASKED, idempotency_key="k3"), now=T0) == Creation("job_1", "", None, True)
