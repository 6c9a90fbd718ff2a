"""What the files may not give away: the machine they were written on, or where its packages come from."""

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCKS = ["requirements.lock", "requirements-otel.lock", "requirements-dev.lock"]

NOT_OURS = re.compile(r"\.git|\.venv|data|node_modules|__pycache__|\..*_cache|\.hypothesis|.*\.egg-info")
MACHINE_PATH = re.compile(r"(?<![\w.}])/(work|root|home|Users)/")
PACKAGE_INDEX = re.compile(r"\w+://|--(extra-)?index-url|--find-links")


def texts() -> Iterator[tuple[str, str]]:
    for folder, names, files in os.walk(ROOT):
        names[:] = [name for name in names if not NOT_OURS.fullmatch(name)]
        for path in (Path(folder, file) for file in files):
            content = path.read_bytes()
            if b"\0" not in content:
                yield path.relative_to(ROOT).as_posix(), content.decode("utf-8", errors="replace")


def lines_with(pattern: re.Pattern[str], name: str, text: str) -> list[str]:
    return [f"{name}:{number}" for number, line in enumerate(text.splitlines(), 1) if pattern.search(line)]


def test_files__name_no_path_of_a_machine() -> None:
    own = Path(__file__).relative_to(ROOT).as_posix()
    found = {name: lines_with(MACHINE_PATH, name, text) for name, text in texts()}
    assert {"pyproject.toml", own} <= found.keys()
    assert [line for lines in found.values() for line in lines] == []


def test_locks__name_no_package_index() -> None:
    for name in LOCKS:
        text = (ROOT / name).read_text("utf-8")
        assert "--hash=sha256:" in text
        assert lines_with(PACKAGE_INDEX, name, text) == []


def test_locks__what_is_shipped_is_what_is_tested() -> None:
    tested, shipped, traced = (
        set(re.findall(r"^[a-z0-9._-]+==\S+", (ROOT / f"requirements{name}.lock").read_text("utf-8"), re.MULTILINE))
        for name in ("-dev", "", "-otel")
    )
    assert len(shipped) > 20 and shipped <= traced <= tested


def test_dependencies__each_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["otel"]]
    [record] = (ROOT / "docs" / "decisions").glob("0009-*.md")
    rows = re.findall(r"^\| ([a-z0-9-][^|]*) \|[^|]+\| \w", record.read_text("utf-8"), re.MULTILINE)
    named = {name.partition(" ")[0] for row in rows for name in row.split(", ")}
    assert named - {"package"} == {re.match(r"[a-z0-9-]+", line)[0] for line in asked}
