"""reelay jobs resolve and reelay restore: what an operator decides from a shell."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.processes import Deployment, ledger
from tests.cli.conftest import LOST, Run, Served

Made = Callable[..., str]


@pytest.fixture
def operate(reelay: Run, served: Served) -> Run:
    """Run a command with the operator's key."""

    def run(*arguments: str) -> object:
        return reelay(*arguments, environment={"REELAY_KEY": served.admin_key})

    return run


def test_resolve__attach_is_checked_and_carried(operate: Run, served: Served, made: Made) -> None:
    job_id = made(prompt=LOST, state="unconfirmed")
    refused = operate("jobs", "resolve", job_id, "--attach", "never-heard-of")
    assert (refused.returncode, "knows no such generation" in refused.stderr) == (1, True)
    made(prompt="bought")
    taken = ledger(served.upstream_url)["purchases"][-1]["generation_id"]
    conflict = operate("jobs", "resolve", job_id, "--attach", taken)
    assert (conflict.returncode, "belongs to job_" in conflict.stderr) == (1, True)


def test_resolve__give_up_and_not_created(operate: Run, made: Made) -> None:
    given_up = operate("jobs", "resolve", made(prompt=LOST, state="unconfirmed"), "--give-up", "--json")
    assert json.loads(given_up.stdout)["error"]["code"] == "submission_unconfirmed"
    again = operate("jobs", "resolve", made(prompt=f"{LOST} x", state="unconfirmed"), "--not-created")
    assert (again.returncode, again.stdout.split()[-1]) == (0, "queued")


@pytest.mark.parametrize("flags", [[], ["--give-up", "--not-created"]])
def test_resolve__one_decision_at_a_time(operate: Run, flags: list[str]) -> None:
    refused = operate("jobs", "resolve", "job_x", *flags)
    assert (refused.returncode, "one of --attach" in refused.stderr) == (2, True)


def test_resolve__needs_the_scope(reelay: Run) -> None:
    refused = reelay("jobs", "resolve", "job_x", "--give-up")
    assert (refused.returncode, "admin" in refused.stderr) == (1, True)


def test_restore__parks_and_releases(tmp_path: Path) -> None:
    house = Deployment(tmp_path, upstream_url="http://127.0.0.1:9", database_url=None)
    assert house.run("restore", "--since", "2026-11-01T10:00:00Z").startswith("Parked 0 jobs until ")
    assert house.run("restore", "--release") == "Released 0 jobs.\n"
