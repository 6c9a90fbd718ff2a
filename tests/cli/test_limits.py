"""Limits of projects from the command line, and the check of the books."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import forks
from tests.acceptance.processes import clean_environment
from tests.canary import UPSTREAM_KEY
from tests.cli.conftest import Served


def reelay(*words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return forks.run("app.cli", *words, environment=clean_environment({"REELAY_DATA_DIR": str(folder)} | environment))


def project(*words: str, folder: Path) -> dict[str, Any]:
    done = reelay("projects", *words, "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


def limits(shown: dict[str, Any]) -> tuple[Any, ...]:
    return shown["monthly_budget_usd"], shown["requests_per_minute"], shown["max_in_flight"]


def test_projects__limits_are_given_changed_and_lifted(tmp_path: Path) -> None:
    made = project("create", "film", "--budget", "99.5", "--requests-per-minute", "60", folder=tmp_path)
    assert (limits(made), made["reserved_usd"], made["spent_usd"]) == ((99.5, 60, None), 0.0, 0.0)
    changed = project("limit", "film", "--budget", "10", "--max-in-flight", "3", folder=tmp_path)
    assert limits(changed) == (10.0, 60, 3)
    lifted = project("limit", "film", "--budget", "none", "--requests-per-minute", "none", folder=tmp_path)
    assert limits(lifted) == (None, None, 3)


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--budget", "-1"),
        ("--budget", "lots"),
        ("--budget", "nan"),
        ("--budget", "1e30"),
        ("--requests-per-minute", "0"),
        ("--requests-per-minute", "1.5"),
        ("--max-in-flight", "-2"),
    ],
)
def test_projects__a_limit_that_is_none_is_named(tmp_path: Path, flag: str, value: str) -> None:
    done = reelay("projects", "create", "film", f"{flag}={value}", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{flag} {value!r}" in done.stderr


def test_projects__limit_of_an_unknown_one_is_refused(tmp_path: Path) -> None:
    done = reelay("projects", "limit", "film", "--budget", "1", folder=tmp_path)
    assert done.returncode == 1
    assert "no project named 'film'" in done.stderr


def test_ledger_check__reports_a_purchase_that_is_not_ours(tmp_path: Path, served: Served) -> None:
    """An empty deployment with the key of one that has bought."""
    with served.client() as client:
        body = {"model": "veo2", "input": {"prompt": "A boat for the books"}}
        job = client.post("/v1/jobs", json=body, headers={"Prefer": "wait=30"}).raise_for_status().json()
        assert job["status"] == "succeeded"
    account = {"REELAY_UPSTREAM_URL": served.upstream_url, "REELAY_UPSTREAM_API_KEY": UPSTREAM_KEY}
    assert reelay("projects", "create", "film", folder=tmp_path).returncode == 0
    done = reelay("ledger", "check", folder=tmp_path, **account)
    assert done.returncode == 1, done.stderr
    assert "not in our books (ours 0.0 USD, theirs 2.5 USD; not booked)" in done.stdout
    done = reelay("ledger", "check", "--shared-key", folder=tmp_path, **account)
    assert (done.returncode, done.stdout) == (0, "The ledger agrees with the account.\n")
    done = reelay("ledger", "check", folder=tmp_path, **account | {"REELAY_UPSTREAM_API_KEY": "wrong"})
    assert done.returncode == 2
    assert "refused the key" in done.stderr
    done = reelay("ledger", "check", folder=tmp_path, **account | {"REELAY_UPSTREAM_URL": "http://127.0.0.1:9"})
    assert done.returncode == 4
    assert "could not be read" in done.stderr


def test_ledger_check__compares_no_account_with_an_empty_place(tmp_path: Path) -> None:
    done = reelay("ledger", "check", "--shared-key", folder=tmp_path, REELAY_UPSTREAM_API_KEY="k")
    assert (done.returncode, done.stdout) == (2, "")
    assert "mend REELAY_DATA_DIR" in done.stderr


@pytest.mark.parametrize("since", ["yesterday", "2999-01-01"])
def test_ledger_check__names_a_time_that_is_wrong(tmp_path: Path, since: str) -> None:
    done = reelay("ledger", "check", "--since", since, folder=tmp_path, REELAY_UPSTREAM_API_KEY="k")
    assert done.returncode == 2
    assert f"--since {since!r}" in done.stderr
