"""The benchmarks still run: each once, so small that its figures mean nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import __main__ as bench
from tests import forks
from tests.acceptance.processes import clean_environment
from tests.postgres import Databases

ROOT = Path(__file__).parents[2]
OPTIONS = {
    "start": (),
    "read": ("--only=SQLite",),
    "content": (),
    "create": ("--only=Postgres",),
    "claim": (),
    "events": ("--only=Postgres", "--listeners=20"),
    "polls": (),
    "flight": ("--flights=20", "--lasting=0.5"),
}
FIGURES = {
    "start": {"start, floor", "start, new folder", "start, again"},
    "read": {f"GET /v1/jobs/{{id}}, {side}" for side in ("floor", "SQLite")},
    "content": {
        *(f"content, {what}, Reelay" for what in ("8 MB whole", "64 MB whole", "the 2nd MB of 8")),
        "memory that 100 slow readers of 64 MB add",
    },
    "create": {f"POST /v1/jobs, {side}" for side in ("floor", "Postgres, 1 project", "Postgres, 64 projects")},
    "claim": {
        f"{claim} among {rows}, {kind}"
        for claim in ("claim 100 due polls", "admit 100 of 1,000 queued")
        for rows in ("100", "500")
        for kind in ("Postgres", "SQLite")
    },
    "events": {"POST to 20 listeners: p99, floor", "commit to 20 listeners: p99, Postgres"},
    "polls": {f"polls on one core, {many} at a time{side}" for many in ("10", "1,000") for side in ("", ", httpx")},
    "flight": {
        f"20 generations, learned: {figure}" for figure in ("end noticed, p50", "end noticed, p99", "polls each")
    },
}


def run(module: str, *arguments: str, database_url: str = "") -> subprocess.CompletedProcess[str]:
    environment = clean_environment({"TEST_DATABASE_URL": database_url})
    return forks.run(module, *arguments, environment=environment, folder=ROOT, timeout=120)


@pytest.mark.parametrize("name", FIGURES)
def test_bench__measures(
    name: str,
    postgres_server: Databases,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In this process, which has everything loaded; the costs below are measured by a process of their own."""
    kept = tmp_path / "figures.json"
    small = ("--rounds=1", "--seconds=0.2", "--rows=500", "--load=python")
    monkeypatch.setattr(sys, "argv", ["bench", name, *small, *OPTIONS[name], f"--json={kept}"])
    monkeypatch.setenv("TEST_DATABASE_URL", postgres_server.url)
    bench.main()
    assert "ERRORS" not in capsys.readouterr().out
    figures = {figure["name"]: figure for figure in json.loads(kept.read_text("utf-8"))["figures"][name]}
    assert figures.keys() >= FIGURES[name]
    assert all(figure["median"] > 0 for figure in figures.values())


def test_peer__is_left_out_where_it_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENT_ENVIRONMENTS", str(tmp_path))
    done = run("bench", "peer", f"--json={tmp_path}/figures.json")
    assert (done.returncode, "`make bench BENCH=peer` installs" in done.stdout) == (0, True), done.stderr


def test_simulate__spends_what_was_measured(postgres_server: Databases, tmp_path: Path) -> None:
    kept = tmp_path / "costs.json"
    measured = run("bench", "costs", "--rounds=1", "--rows=500", f"--json={kept}", database_url=postgres_server.url)
    assert measured.returncode == 0, measured.stderr
    figures = json.loads(kept.read_text("utf-8"))
    for figure in figures["figures"]["costs"]:
        figure["median"] *= 20 if figure["name"] == "look at an empty gate: statements" else 1
    dearer = tmp_path / "dearer.json"
    dearer.write_text(json.dumps(figures), "utf-8")
    statements = []  # In a second, of virtual time: a single sample of a measured one may be anything.
    for costs, turn in ((kept, "look=1"), (kept, "look=20"), (dearer, "look=1")):
        done = run("bench.simulate", f"--costs={costs}", "--jobs=500", "--workers=2", "--places=100", f"--turn={turn}")
        assert done.returncode == 0, done.stderr
        statements += [
            int(line.split()[2].rstrip("/s").replace(",", ""))
            for line in done.stdout.splitlines()
            if "statements" in line
        ]
    usual, *dear = statements
    assert 0 < 1.5 * usual < min(dear)
    refused = run("bench.simulate", "--turn=admit")
    assert refused.returncode == 1
    assert "give NAME=FACTOR" in refused.stderr
