"""The rules of the house that no linter knows, read from the source."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in sorted(ROOT.glob("app/**/*.py"))}
NODES = [(name, node) for name, source in SOURCES.items() for node in ast.walk(ast.parse(source))]

LONGEST_MODULE = 300
LONGEST_BODY = 40
NAMES_THAT_SAY_NOTHING = {"utils", "helpers", "common", "base", "core", "misc", "services"}


def test_imports__keep_their_contracts() -> None:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_modules__are_short() -> None:
    lengths = {name: len(source.splitlines()) for name, source in SOURCES.items()}
    assert lengths
    assert {name: length for name, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_functions__are_short() -> None:
    lengths = {
        f"{name}:{node.lineno} {node.name}": body_length(node)
        for name, node in NODES
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert lengths
    assert {name: length for name, length in lengths.items() if length > LONGEST_BODY} == {}


def test_modules__have_names_that_say_something() -> None:
    assert [name for name in SOURCES if NAMES_THAT_SAY_NOTHING & set(Path(name).with_suffix("").parts)] == []


def test_domain__has_no_clock() -> None:
    clocks = {"now", "utcnow", "today"}
    assert [
        f"{name}:{node.lineno}"
        for name, node in NODES
        if name.startswith("app/domain/") and isinstance(node, ast.Attribute) and node.attr in clocks
    ] == []


def test_state__is_assigned_in_one_place() -> None:
    # That one statement, which only `advance` executes, also shows that this test recognises an assignment.
    assigned = [name for name, node in NODES if isinstance(node, ast.Call) and assigns_state(node)]
    assert assigned == ["app/db/moving.py"]
    users = [name for name, node in NODES if isinstance(node, ast.ImportFrom) and node.module == "app.db.moving"]
    assert users == ["app/db/jobs.py"]
    written_as_text = re.compile(r"\bupdate\s+jobs\b", re.IGNORECASE)
    texts = (
        (name, node.value) for name, node in NODES if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    assert [name for name, text in texts if written_as_text.search(text)] == []


def body_length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines below the signature and the docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def assigns_state(call: ast.Call) -> bool:
    """Tell whether this is the `.values(state=...)` of an update of the jobs table."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr != "values":
        return False
    columns = {keyword.arg for keyword in call.keywords}
    for mapping in (argument for argument in call.args if isinstance(argument, ast.Dict)):
        columns |= {ast.unparse(key).strip("'").split(".")[-1] for key in mapping.keys if key}
    updates_jobs = re.search(r"\bjobs\w*\.update\(|\bupdate\((\w+\.)*jobs\w*\)", ast.unparse(call.func.value))
    return bool(updates_jobs) and "state" in columns


def loaded(*modules: str) -> set[str]:
    """Return the libraries that are there once these modules are imported."""
    loading = f"import sys, {', '.join(modules)}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", loading], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_service__loads_no_large_library_before_it_needs_it() -> None:
    found = loaded("app.cli.command", "app.main")
    assert {"fastapi", "sqlalchemy"} <= found
    assert not {"alembic", "psycopg", "cryptography", "joserfc", "PIL", "av"} & found


def test_client__loads_nothing_of_the_service() -> None:
    found = loaded("app.cli.client")
    assert {"httpx2", "typer"} <= found
    assert not {"fastapi", "pydantic", "sqlalchemy", "structlog"} & found
