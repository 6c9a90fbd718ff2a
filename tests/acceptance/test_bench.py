"""The benchmarks still run: each once, so small that its figures mean nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.processes import clean_environment
from tests.postgres import Databases

ROOT = Path(__file__).parents[2]
OPTIONS = {
    "start": (),
    "read": ("--only=SQLite",),
    "create": ("--only=Postgres",),
    "claim": (),
    "events": ("--only=Postgres", "--listeners=20"),
    "polls": (),
    "flight": ("--flights=20", "--lasting=2"),
}
FIGURES = {
    "start": {"start, floor", "start, new folder", "start, again"},
    "read": {f"GET /v1/jobs/{{id}}, {side}" for side in ("floor", "SQLite")},
    "create": {f"POST /v1/jobs, {side}" for side in ("floor", "Postgres, 1 project", "Postgres, 64 projects")},
    "claim": {
        f"{claim} among {rows}, {kind}"
        for claim in ("claim 100 due polls", "admit 100 of 1,000 queued")
        for rows in ("400", "2,000")
        for kind in ("Postgres", "SQLite")
    },
    "events": {"POST to 20 listeners: p99, floor", "commit to 20 listeners: p99, Postgres"},
    "polls": {f"polls on one core, {many} at a time{side}" for many in ("10", "1,000") for side in ("", ", httpx")},
    "flight": {
        f"20 generations, learned: {figure}" for figure in ("end noticed, p50", "end noticed, p99", "polls each")
    },
}


@pytest.mark.parametrize("name", FIGURES)
def test_bench__measures(name: str, postgres_urls: Databases, tmp_path: Path) -> None:
    kept = tmp_path / "figures.json"
    command = [sys.executable, "-m", "bench", name, "--rounds=1", "--seconds=1", "--rows=2000", "--load=python"]
    done = subprocess.run(
        [*command, *OPTIONS[name], f"--json={kept}"],
        cwd=ROOT,
        env=clean_environment({"TEST_DATABASE_URL": postgres_urls.url}),
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "ERRORS" not in done.stdout
    figures = {figure["name"]: figure for figure in json.loads(kept.read_text("utf-8"))["figures"][name]}
    assert figures.keys() >= FIGURES[name]
    assert all(figure["median"] > 0 for figure in figures.values())
