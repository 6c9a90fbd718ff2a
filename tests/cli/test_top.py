"""reelay top: what it prints for programs, without a terminal and on one."""

import json
from pathlib import Path

import pytest

from app.db.engine import Database
from app.domain.errors import SettingsError
from app.domain.states import JobState
from tests.acceptance.processes import clean_environment
from tests.cli.test_terminal import CTRL_C, Terminal
from tests.cli.test_trail import done, reelay
from tests.factories import make_caller, make_job


@pytest.fixture
def deployment(tmp_path: Path) -> Path:
    """A data folder with a job that may have been bought unseen and two that are queued."""
    done("projects", "create", "operations", folder=tmp_path)  # and with it the schema
    database = Database(f"sqlite:///{tmp_path / 'reelay.db'}")
    me, _ = make_caller(database)
    make_job(database, me, state=JobState.UNCONFIRMED, estimated_micros=2_500_000)
    for _ in range(2):
        make_job(database, me)
    database.close()
    return tmp_path


def test_top__prints_figures_for_programs_and_for_pipes(deployment: Path) -> None:
    seen = json.loads(done("top", "--json", folder=deployment))
    counts = {group["state"]: group["count"] for group in seen["jobs"]}
    assert counts == {"queued": 2, "unconfirmed": 1}
    assert seen["unconfirmed"] == {"jobs": 1, "unresolved": 0, "usd": 2.5}
    assert seen["worker_heard_at"] is None and seen["disk"]["free_bytes"] > 0
    lines = dict(line.split("\t") for line in done("top", folder=deployment).splitlines())
    assert lines["queued veo2/image-to-video"] == "2"
    assert lines["unconfirmed"] == "1, 2.50 USD at risk"
    assert (lines["submissions held"], lines["worker last heard"]) == ("no", "never")


def test_top__says_that_there_is_no_deployment(tmp_path: Path) -> None:
    refused = reelay("top", folder=tmp_path).exception
    assert isinstance(refused, SettingsError)
    assert "start the service" in str(refused)


def test_top__stays_on_a_terminal_until_it_is_left(deployment: Path) -> None:
    environment = clean_environment({"REELAY_DATA_DIR": str(deployment)})
    watch = Terminal("top", "--interval", "0.5", environment=environment, folder=deployment, columns=160)
    watch.wait_for("2.50 USD at risk")
    database = Database(f"sqlite:///{deployment / 'reelay.db'}")
    make_job(database, make_caller(database)[0], state=JobState.UNCONFIRMED, estimated_micros=1_000_000)
    database.close()
    watch.wait_for("3.50 USD at risk")
    watch.press(CTRL_C)
    assert watch.end() == 0
