"""reelay audit, and that every command which changes something on the host leaves its line there."""

import asyncio
import json
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from app.cli import development, examinations
from app.cli.client import COMMANDS
from app.cli.command import app
from app.db import gate
from app.domain.errors import Conflict, NotFound, SettingsError, UnknownModel
from app.settings import Settings, open_database

HOST_COMMANDS = {
    ("projects", "create"): ["film"],
    ("projects", "limit"): ["film", "--budget", "5"],
    ("projects", "archive"): ["film"],
    ("projects", "sign-in"): ["film"],
    ("keys", "create"): ["--project", "film", "--name", "laptop", "--requests-per-minute", "30"],
    ("keys", "revoke"): ["{key}", "--cancel-queued"],
    ("upstream", "pause"): ["--reason", "Too dear."],
    ("upstream", "resume"): [],
    ("restore",): ["--since", "2026-11-01T09:30:00Z"],
}
"""What each command of the host that changes something is given."""
LOOK_ONLY = {("projects", "list"), ("keys", "list"), ("audit",), ("doctor",), ("top",)}
OTHERS = {
    ("serve",): "test_development_key__is_made_and_ended_by_the_operator",
    ("demo",): "it is a serve",
    ("ledger", "check"): "tests/workers/test_ledger.py",
    ("worker",): "the service itself",
    ("sandbox",): "no part of the service",
    ("migrate",): "it makes the table",
}


def commands(of: typer.Typer, *, before: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    found = {(*before, str(command.name)) for command in of.registered_commands}
    for group in of.registered_groups:
        assert group.typer_instance is not None
        found |= commands(group.typer_instance, before=(*before, str(group.name)))
    return found


def reelay(*words: str, folder: Path) -> Result:
    """Run a command in this process, which takes a tenth of the time."""
    return CliRunner().invoke(app, list(words), env={"REELAY_DATA_DIR": str(folder)})


def done(*words: str, folder: Path) -> str:
    result = reelay(*words, folder=folder)
    assert result.exit_code == 0, result.exception
    return str(result.stdout)


def told(folder: Path, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(done("audit", "--json", *words, folder=folder))
    return found


def test_commands__of_the_host_are_all_known() -> None:
    of_the_host = {name for name in commands(app) if name[0] not in COMMANDS}
    assert of_the_host == HOST_COMMANDS.keys() | LOOK_ONLY | OTHERS.keys()


def test_commands__of_the_client_are_there_without_the_host() -> None:
    """What begins with a word of the client's loads nothing else: a command of the host would be missing."""
    command = [sys.executable, "-m", "app.cli", "jobs", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert {name[1] for name in commands(app) if name[0] == "jobs"} <= set(shown.split())


@pytest.mark.parametrize("command", HOST_COMMANDS, ids=" ".join)
def test_command__leaves_one_act_of_the_operator(tmp_path: Path, command: tuple[str, ...]) -> None:
    key = ""
    if command != ("projects", "create"):
        done("projects", "create", "film", folder=tmp_path)
        key = json.loads(done("keys", "create", "--project", "film", "--name", "a", "--json", folder=tmp_path))["id"]
    before = told(tmp_path)
    done(*command, *(word.format(key=key) for word in HOST_COMMANDS[command]), folder=tmp_path)
    [act] = told(tmp_path)[len(before) :]
    assert act["by"] == {"on_host": True}
    assert act["action"].partition(".")[0] in (command[0].removesuffix("s"), "jobs")


def test_command__that_is_refused_or_changes_nothing_leaves_none(tmp_path: Path) -> None:
    done("projects", "create", "film", folder=tmp_path)
    assert isinstance(reelay("projects", "create", "film", folder=tmp_path).exception, Conflict)
    done("projects", "limit", "film", folder=tmp_path)
    done("projects", "list", folder=tmp_path)
    key = json.loads(done("keys", "create", "--project", "film", "--name", "a", "--json", folder=tmp_path))["id"]
    for _ in range(2):
        done("projects", "archive", "film", folder=tmp_path)
        done("keys", "revoke", key, folder=tmp_path)
    found = [act["action"] for act in told(tmp_path)]
    assert found == ["project.created", "key.created", "project.archived", "key.revoked"]


def test_audit__shows_lines_and_is_narrowed(tmp_path: Path) -> None:
    for name in ("film", "news"):
        done("projects", "create", name, "--budget", "5", folder=tmp_path)
    lines = done("audit", folder=tmp_path).splitlines()
    assert [line.split("\t")[1:] for line in lines] == [
        ["project.created", name, "operator on the host", "-", "-", "-"] for name in ("film", "news")
    ]
    [act] = told(tmp_path, "--project", "news")
    assert (act["target"], act["data"]) == ("news", {"monthly_budget_micros": 5_000_000})
    [act] = told(tmp_path, "--limit", "1")
    assert act["target"] == "news"
    assert "newest 1" in reelay("audit", "--limit", "1", folder=tmp_path).stderr
    assert told(tmp_path, "--since", "2999-01-01") == []
    assert told(tmp_path, "--job", "job_x") == []
    assert isinstance(reelay("audit", "--project", "x", folder=tmp_path).exception, NotFound)
    assert isinstance(reelay("audit", "--since", "yesterday", folder=tmp_path).exception, SettingsError)


def test_development_key__is_made_and_ended_by_the_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELAY_DATA_DIR", str(tmp_path))
    done("projects", "create", "film", folder=tmp_path)  # and with it the schema
    for allowed in (True, True, False, False):
        development.key_for(Settings.load(), allowed=allowed)
    found = [(act["action"], act["by"]) for act in told(tmp_path)[1:]]
    assert found == [(what, {"on_host": True}) for what in ("project.created", "key.created", "key.revoked")]


def test_keys__may_have_a_limit_of_requests(tmp_path: Path) -> None:
    done("projects", "create", "film", folder=tmp_path)
    flags = ["keys", "create", "--project", "film", "--name", "a", "--json", "--requests-per-minute"]
    assert json.loads(done(*flags, "30", folder=tmp_path))["requests_per_minute"] == 30
    assert isinstance(reelay(*flags, "0", folder=tmp_path).exception, SettingsError)


def test_project__may_be_kept_to_some_models(tmp_path: Path) -> None:
    flags = ["projects", "create", "film", "--json", "--models"]
    assert isinstance(reelay(*flags, "veo9", folder=tmp_path).exception, UnknownModel)
    named = "veo2, veo2/image-to-video"
    assert json.loads(done(*flags, named, folder=tmp_path))["models"] == ["veo2", "veo2/image-to-video"]
    lifted = json.loads(done("projects", "limit", "film", "--json", "--models", "none", folder=tmp_path))
    assert lifted["models"] is None


def test_pause__is_the_doctors_first_suspect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELAY_DATA_DIR", str(tmp_path))
    for _ in range(2):
        done("upstream", "pause", "--reason", "Too dear.", folder=tmp_path)
    assert [act["data"] for act in told(tmp_path)] == [{"reason": "Too dear."}]
    *_, found = asyncio.run(examinations.database(Settings.load()))
    assert (found.level, found.mend) == ("warn", "reelay upstream resume")
    assert "operator on the host: Too dear." in found.message
    done("upstream", "resume", folder=tmp_path)
    assert {found.level for found in asyncio.run(examinations.database(Settings.load()))} == {"ok"}


def test_hold__is_told_by_the_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELAY_DATA_DIR", str(tmp_path))
    done("migrate", folder=tmp_path)
    now = datetime.now(UTC)
    with closing(open_database(Settings.load())) as db, db.transaction() as conn:
        gate.hold(conn, now=now, until=now, reason="upstream_out_of_credits")
        gate.hold_model(conn, "veo2", now=now, until=now, reason="model_forbidden", level=1)
    found = asyncio.run(examinations.database(Settings.load()))
    told_of = [finding.message.partition(" jobs ")[2] for finding in found if finding.level == "warn"]
    assert told_of == ["wait: upstream_out_of_credits.", "of veo2 wait: model_forbidden."]
