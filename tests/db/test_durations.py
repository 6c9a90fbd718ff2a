"""What is learned of how long generations take."""

import pytest

from app.db import durations
from app.db.engine import Database

FIVE, EIGHT = {"prompt": "A boat.", "duration": 5}, {"prompt": "A boat.", "duration": 8}


def expected(database: Database, given: dict[str, object], *, model: str = "veo2") -> float:
    with database.transaction() as conn:
        return round(durations.read(conn, model).of(model, given).typical_seconds, 1)


def observe(database: Database, given: dict[str, object], *seconds: float) -> None:
    with database.transaction() as conn:
        for each in seconds:
            durations.observe(conn, "veo2", given, each)


def test_durations__are_learned_for_each_length(database: Database) -> None:
    observe(database, FIVE, 30, 30, 30)
    observe(database, EIGHT, 90, 90, 90)
    assert (expected(database, FIVE), expected(database, EIGHT)) == (30.0, 90.0)


def test_durations__few_of_a_length_say_less_than_all_of_the_model(database: Database) -> None:
    observe(database, FIVE, 40, 40, 40, 40)
    assert expected(database, EIGHT) == 40.0
    observe(database, EIGHT, 80, 80)
    assert 40.0 < expected(database, EIGHT) < 60.0
    observe(database, EIGHT, 80)
    assert expected(database, EIGHT) == 80.0


@pytest.mark.parametrize("written", [5, "5", 5.0, "5.0"])
def test_durations__one_length_has_many_spellings(database: Database, written: object) -> None:
    observe(database, FIVE, 30, 30, 30)
    observe(database, EIGHT, *[300] * 9)
    assert expected(database, {"duration": written}) == 30.0


def test_durations__where_the_model_decides_those_of_the_model_count(database: Database) -> None:
    observe(database, {"duration": -1}, 30)
    observe(database, {}, 30)
    observe(database, FIVE, 30)
    assert expected(database, {"duration": "auto"}) == 30.0
    with database.transaction() as conn:
        learned = durations.read_all(conn).of_model("veo2")
    assert learned is not None
    assert learned.seen == 3


def test_durations__of_a_model_never_seen_are_the_prior(database: Database) -> None:
    assert expected(database, FIVE, model="unheard-of") == 60.0
