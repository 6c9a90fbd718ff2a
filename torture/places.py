"""Where faults may strike, read from the code: so that a commit which no run reaches is seen to be missing."""

import ast
from collections.abc import Iterator
from pathlib import Path

import app
from torture.points import WRAPPED, boundary_of

MOMENTS = ("before", "after")
SERVICE = ("api", "workers")
"""The packages that commit while the service runs."""
Scope = list[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]


def all_points() -> set[str]:
    """Return every point that can be told from the code; a commit made in a roundabout way counts once reached."""
    doors = {f"{boundary_of(owner)} {name}" for owner, names in WRAPPED.items() for name in names}
    doors |= {"download", "commit prepare_database"}
    doors |= {f"commit {name}" for name in _commits()}
    return {f"{door} {moment}" for door in doors for moment in MOMENTS}


def _commits() -> Iterator[str]:
    root = Path(app.__file__).parent
    for package in SERVICE:
        for path in sorted((root / package).glob("*.py")):
            yield from filter(None, _commits_in(ast.parse(path.read_text("utf-8")), []))


def _commits_in(node: ast.AST, scope: Scope) -> Iterator[str | None]:
    """Yield the name of every transaction function that is given to a database's `write` below the node."""
    if isinstance(node, ast.Call) and _is_write(node.func):
        yield _named(node.args[0], scope)
    inner = [*scope, node] if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) else scope
    for child in ast.iter_child_nodes(node):
        yield from _commits_in(child, inner)


def _is_write(called: ast.expr) -> bool:
    if not isinstance(called, ast.Attribute) or called.attr != "write":
        return False
    owner = called.value
    return isinstance(owner, ast.Attribute) and owner.attr in ("db", "_db")


def _named(work: ast.expr, scope: Scope) -> str | None:
    """Return what `points.name_of` would; None where that depends on the caller."""
    match work:
        case ast.Lambda():
            return _path(scope)
        case ast.Call(func=ast.Name(id="partial"), args=[inner, *_]):
            return _named(inner, scope)
        case ast.Attribute(value=ast.Name(id="self"), attr=method):
            owner = next(outer for outer in scope if isinstance(outer, ast.ClassDef))
            return f"{owner.name}.{method}"
        case ast.Attribute(attr=function):
            return function
        case ast.Name(id=name):
            return _local(name, scope)
        case _:
            return None


def _local(name: str, scope: Scope) -> str | None:
    for depth in range(len(scope), 0, -1):
        outer = scope[depth - 1]
        if isinstance(outer, ast.ClassDef):
            continue
        if any(argument.arg == name for argument in [*outer.args.args, *outer.args.kwonlyargs]):
            return None
        for node in ast.walk(outer):
            if isinstance(node, ast.FunctionDef) and node.name == name:
                return _path([*scope[:depth], node])
            if isinstance(node, ast.Assign) and [t.id for t in node.targets if isinstance(t, ast.Name)] == [name]:
                return _named(node.value, scope)
    return name


def _path(scope: Scope) -> str:
    return ".".join(outer.name for outer in scope)
