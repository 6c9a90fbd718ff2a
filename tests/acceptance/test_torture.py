"""A minute of `make torture`: the real service under faults of every kind. And whoever ends it, its victims end too."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.acceptance.processes import clean_environment
from tests.postgres import Databases
from torture.answers import CUT_OFF, MARK, Ask, judge_answers
from torture.judge import Books
from torture.table import Part

SEED = 20261125
WAYS_TO_END = [signal.SIGTERM, signal.SIGINT, *([signal.SIGKILL] if sys.platform == "linux" else [])]


@contextmanager
def torture(folder: Path, *, seconds: int, server: Databases) -> Iterator[subprocess.Popen[str]]:
    """Run the matrix in a process group of its own, with its files in `folder`; nothing of the group is left."""
    process = subprocess.Popen(
        [sys.executable, "-m", "torture", "--tied", "--only=matrix", f"--seconds={seconds}", f"--seed={SEED}"],
        env=clean_environment({"TMPDIR": str(folder), "TEST_DATABASE_URL": server.url}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


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


@pytest.mark.parametrize("ending", WAYS_TO_END, ids=lambda ending: ending.name)
def test_torture__however_it_ends_no_victim_is_left(
    tmp_path: Path, ending: signal.Signals, postgres_server: Databases
) -> None:
    with torture(tmp_path, seconds=600, server=postgres_server) as process:
        await_first_lives(tmp_path)
        process.send_signal(ending)
        process.communicate(timeout=60)
        assert group_ends(process.pid)


def await_first_lives(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not any(b"begun" in trace.read_bytes() for trace in folder.glob("*/matrix/*/*.trace")):
        assert time.monotonic() < deadline, "no victim came to life"
        time.sleep(0.05)


def group_ends(group: int) -> bool:
    """Wait until no process of the group is left; False if some are still there after ten seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


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
