"""A minute of `make torture`: the real service under faults of every kind."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.postgres import Databases
from tests.tortured import torture
from torture.answers import CUT_OFF, MARK, Ask, judge_answers
from torture.judge import Books
from torture.table import Part


def figures(table: str) -> dict[str, str]:
    """Return the row of the matrix by the names of its columns."""
    [names] = [line.split() for line in table.splitlines() if line.startswith("part ")]
    [values] = [line.split() for line in table.splitlines() if line.startswith("matrix ")]
    return dict(zip(names, values, strict=True))


def test_torture__a_minute_buys_nothing_twice_and_loses_nothing(tmp_path: Path, postgres_server: Databases) -> None:
    with torture(tmp_path, seconds=60, server=postgres_server) as process:
        printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0, printed
    seen = figures(printed)
    assert (seen["duplicates"], seen["lost"]) == ("0", "0"), printed
    assert min(int(seen[kind]) for kind in ("kills", "stalls", "exceptions")) >= 5, printed
    assert int(seen["purchases"]) >= 3, printed  # many more, where nobody else uses the machine


def judged(ask: Ask, *job_ids: str, retries: dict[str, list[int]] | None = None) -> list[str]:
    """Return what the judge objects to, where these jobs carry the request's mark; the last one is a retry of `old`."""
    jobs = {id_: SimpleNamespace(id=id_, metadata={MARK: ask.mark}, retried_from=None) for id_ in job_ids}
    jobs["again"] = SimpleNamespace(id="again", metadata={MARK: ask.mark}, retried_from="old")
    part = Part("matrix")
    judge_answers(part, Books([], jobs, []), [ask], retries or {}, name="here")
    return part.broken


@pytest.mark.parametrize(
    ("ask", "made"),
    [
        (Ask("a", {}, None, [503]), []),
        (Ask("a", {}, None, [CUT_OFF]), ["one"]),
        (Ask("a", {}, "key", [503, CUT_OFF, 201, 201], {"one"}, first_was_replayed=True), ["one"]),
        (Ask("a", {}, "key", [503, 201], {"one"}), []),  # deleted since
    ],
)
def test_judge__honest_answers_pass(ask: Ask, made: list[str]) -> None:
    assert judged(ask, *made, retries={"old": [503, 201], "older": [503]}) == []


@pytest.mark.parametrize(
    ("ask", "made"),
    [
        (Ask("a", {}, None, [503]), ["one"]),
        (Ask("a", {}, None, [500]), ["one"]),
        (Ask("a", {}, None, [CUT_OFF]), ["one", "two"]),
        (Ask("a", {}, "key", [503, 201], {"one"}, first_was_replayed=True), ["one"]),
        (Ask("a", {}, "key", [201, 201], {"one", "two"}), ["one", "two"]),
        (Ask("a", {}, "key", [503, CUT_OFF]), []),
    ],
)
def test_judge__a_5xx_for_a_job_that_was_made_is_noted(ask: Ask, made: list[str]) -> None:
    assert judged(ask, *made) != []


def test_judge__a_5xx_for_a_retry_that_was_made_is_noted() -> None:
    assert judged(Ask("a", {}), retries={"old": [500, 503]}) == [
        "[here] old was retried, and the answer was [500, 503]"
    ]
