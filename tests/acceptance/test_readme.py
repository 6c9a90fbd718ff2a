"""What the pages tell people to type works as it is pasted."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from app.cli.command import app as command
from tests.acceptance.processes import Server, clean_environment
from tests.machine import lacks

ROOT = Path(__file__).parents[2]
SHOWN_ADDRESS = "127.0.0.1:8000"
SHOWN_KEY = "rly_..."
MARK = "=====end of block====="
BASH_BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def bash_blocks(page: str) -> list[str]:
    return BASH_BLOCK.findall((ROOT / page).read_text("utf-8"))


def pasted(page: str, *, server: Server, folder: Path) -> list[str]:
    """Run the page's blocks that call curl, one after the other in one shell; return what each printed."""
    if shutil.which("curl") is None:
        lacks("It needs curl.")
    (folder / "app").symlink_to(ROOT / "app")
    blocks = [block for block in bash_blocks(page) if re.search(r"\bcurl\b", block)]
    assert any(SHOWN_ADDRESS in block for block in blocks)
    assert any(SHOWN_KEY in block for block in blocks)
    script = f"\necho; echo '{MARK}'\n".join(["set -euo pipefail", *blocks, ""])
    script = script.replace(SHOWN_ADDRESS, server.address).replace(SHOWN_KEY, server.key)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=clean_environment({}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    printed = done.stdout.split(MARK)
    assert done.returncode == 0, f"after {printed[-1]!r}: {done.stderr}"
    return [text.strip() for text in printed[1:-1]]


def read_all(text: str) -> list[dict[str, Any]]:
    """Read the JSON objects that stand in `text` one behind the other."""
    found, rest = [], text
    while rest := rest.strip():
        value, end = json.JSONDecoder().raw_decode(rest)
        found.append(value)
        rest = rest[end:]
    return found


def test_readme__curl_blocks_work_as_pasted(server: Server, tmp_path: Path) -> None:
    created, waited, downloaded, ordered = pasted("README.md", server=server, folder=tmp_path)
    [job] = read_all(waited)
    assert job["id"] == created
    assert (job["status"], job["error"]) == ("succeeded", None)
    assert (job["video"]["width"], job["video"]["height"], job["video"]["duration_seconds"]) == (1280, 720, 5.0)
    assert downloaded == ""
    video = (tmp_path / "video.mp4").read_bytes()
    assert video[4:8] == b"ftyp"
    assert len(video) == job["video"]["size_bytes"]
    [second] = read_all(ordered)
    assert (second["status"], second["metadata"]) == ("succeeded", {"order": "A-17"})
    assert second["video"]["duration_seconds"] == 6.0
    assert second["cost"]["charged_usd"] == second["cost"]["estimated_usd"] <= 3.5


def test_api_page__curl_blocks_work_as_pasted(server: Server, tmp_path: Path) -> None:
    printed = pasted("docs/api.md", server=server, folder=tmp_path)
    model, own, created, quiet, filed, priced, twice, seeded, waited = printed[:9]
    downloaded, listed, timeline, live, canceled, retried, deleted, used, by_token, told = printed[9:]
    [credential] = read_all(own)
    assert (credential["kind"], credential["subject"]) == ("key", None)
    [wished] = read_all(seeded)
    assert (wished["input"]["seed"], wished["reused_from"]) == (7, None)
    [from_page] = read_all(by_token)
    assert from_page["subject"] == "user-42"
    test, log = read_all(told)
    assert test["id"] in [delivery["id"] for delivery in log["data"]]  # a job of above may have ended meanwhile
    with_file, file = read_all(filed)
    assert with_file["valid"] and file["id"].startswith("file_")
    assert (tmp_path / "kept.jpg").stat().st_size == file["size_bytes"]
    [estimate] = read_all(priced)
    assert (estimate["valid"], estimate["cost"]["estimated_usd"]) == (False, 3.0)
    assert read_all(used)[0]["total"]["charged_usd"] >= 2.5
    assert read_all(model)[0]["input_schema"]["required"] == ["prompt", "image_url"]
    assert read_all(created)[0]["metadata"] == {"order": "A-17", "customer": "lake-house"}
    first, again = read_all(twice)
    assert first == again
    [job] = read_all(waited)
    assert job["status"] == "succeeded"
    assert [quiet, downloaded, deleted] == ["", "", ""]
    sizes = {name: (tmp_path / name).stat().st_size for name in ("video.mp4", "poster.jpg", "start.mp4")}
    assert (sizes["video.mp4"], sizes["start.mp4"]) == (job["video"]["size_bytes"], 100_000)
    assert sizes["poster.jpg"] > 0
    succeeded, of_order, newer = read_all(listed)
    assert job["id"] in [row["id"] for row in succeeded["data"]]
    assert [row["id"] for row in of_order["data"]] == [job["id"]]
    assert [row["id"] for row in newer["data"]] == [first["id"], wished["id"]]
    steps = ["job.created", "job.submitting", "job.started", "job.saving", "job.succeeded"]
    assert [event["type"] for event in read_all(timeline)[0]["data"]] == steps
    assert re.findall(r"^event: (.+)$", live, re.MULTILINE) == steps
    [unwanted] = read_all(canceled)
    assert unwanted["status"] == "canceled" or unwanted["cancel_requested_at"] is not None
    ended, retry = read_all(retried)
    assert (ended["id"], ended["status"]) == (unwanted["id"], "canceled")
    assert retry["retried_from"] == unwanted["id"]


def shown_commands(page: str) -> list[list[str]]:
    """Return the words of each `reelay ...` in the page's code, shell blocks and spans alike."""
    text = (ROOT / page).read_text("utf-8")
    code = [line for block in bash_blocks(page) for line in block.splitlines()]
    code += re.findall(r"`([^`\n]+)`", BASH_BLOCK.sub("", text))
    found = [re.search(r"(?:^|[ /])reelay ([a-z][^#|&]*)", line) for line in code]
    return [match[1].split() for match in found if match]


def named(words: list[str]) -> list[str]:
    """Return the command's own words: of `projects create film`, the first two."""
    group, path = typer.main.get_command(command), []
    for word in words:
        known = getattr(group, "commands", {})
        if word not in known:
            break
        group = known[word]
        path.append(word)
    return path


@pytest.mark.parametrize(
    "page", ["README.md", "docs/cli.md", "docs/operations.md", "docs/deploy.md", "docs/architecture.md"]
)
def test_commands__shown_exist_with_their_options(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = shown_commands(page)
    assert shown
    helped: dict[tuple[str, ...], str] = {}
    for words in shown:
        path = tuple(named(words))
        assert path, f"reelay {' '.join(words)}"
        if path not in helped:
            answer = CliRunner().invoke(command, [*path, "--help"])
            assert answer.exit_code == 0, answer.output
            helped[path] = answer.output
        for option in (word for word in words if word.startswith("--")):
            assert re.search(rf"{option}(?![\w-])", helped[path]), f"reelay {' '.join(words)}"
