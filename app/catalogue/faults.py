"""Violations of a schema put into sentences: which field, what it may be, what was probably meant."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from app.domain.errors import InvalidRequest

LONGEST_GUESSED = 64
"""Longer words are no typing errors, and guessing at them costs time."""

_TYPES = {
    "string": "a text (string)",
    "integer": "a whole number (integer)",
    "number": "a number",
    "boolean": "true or false (boolean)",
    "array": "a list (array)",
    "object": "an object",
    "null": "null",
}
_LIMITS = {
    "minimum": "must be at least {}.",
    "maximum": "must be at most {}.",
    "exclusiveMinimum": "must be more than {}.",
    "exclusiveMaximum": "must be less than {}.",
    "minLength": "must have at least {} characters.",
    "maxLength": "must have at most {} characters.",
    "minItems": "must have at least {} entries.",
    "maxItems": "must have at most {} entries.",
}
_TELLING = ("additionalProperties", "enum")
"""What is told first: a mistyped name explains what else is missing; what a value may be helps more than its type."""


def described(model_id: str, schema: dict[str, Any], faults: Sequence[Any]) -> InvalidRequest:
    """Turn the violations of a model's schema into one sentence that names the field and what it may be."""
    fault = _telling(faults)
    path = [str(part)[:LONGEST_GUESSED] for part in fault.instance_path]
    match fault.kind.name:
        case "additionalProperties":
            return _unknown_field(model_id, fault, path, schema=schema)
        case "required":
            owner = f"{_shown(path)} of {model_id}" if path else model_id
            path.append(fault.kind.property)
            message = f"{owner} needs {path[-1]!r}."
        case _:
            message = f"{_shown(path) if path else repr('input')}: {_expectation(fault)}"
    return InvalidRequest(message, code="invalid_input", param=".".join(["input", *path]))


def suggestion(name: str, known: Iterable[str], *, most: int = 1) -> str:
    """Return a question that names the known words closest to this one, with a space before it; else nothing."""
    by_lower = {word.lower(): word for word in known}
    close = difflib.get_close_matches(name[:LONGEST_GUESSED].lower(), by_lower, n=most)
    *others, last = [repr(by_lower[word]) for word in close] or [""]
    choice = " or ".join([", ".join(others), last] if others else [last])
    return f" Did you mean {choice}?" if last else ""


def _telling(faults: Sequence[Any]) -> Any:
    """Return the violation that helps most; of a union, that of the branch that was probably meant."""
    fault = next((fault for kind in _TELLING for fault in faults if fault.kind.name == kind), faults[0])
    branches = getattr(fault.kind, "context", None)
    if not branches:
        return fault
    distances = [_distance(branch, list(fault.instance_path)) for branch in branches]
    closest = min(distances)
    of_no_type, *_ = closest
    return fault if of_no_type else _telling(branches[distances.index(closest)])


def _distance(branch: Sequence[Any], path: list[Any]) -> tuple[bool, bool, int]:
    """Tell how far a value is from a branch: of another type, of another `type` as it says itself, how many faults."""
    wrong_type = any(fault.kind.name == "type" and list(fault.instance_path) == path for fault in branch)
    wrong_tag = any(fault.kind.name == "enum" and list(fault.instance_path) == [*path, "type"] for fault in branch)
    return wrong_type, wrong_tag, len(branch)


def _unknown_field(model_id: str, fault: Any, path: list[str], *, schema: dict[str, Any]) -> InvalidRequest:
    for step in list(fault.schema_path)[:-1]:
        schema = schema[step]
    name, known = fault.kind.unexpected[0], schema.get("properties", {})
    owner = f"{_shown(path)} of {model_id}" if path else model_id
    return InvalidRequest(
        f"{owner} has no parameter {name[:LONGEST_GUESSED]!r}.{suggestion(name, known)} "
        f"It takes: {', '.join(known) or 'none'}.",
        code="unknown_parameter",
        param=".".join(["input", *path, name[:LONGEST_GUESSED]]),
    )


def _shown(path: list[str]) -> str:
    return repr(".".join(path))


def _expectation(fault: Any) -> str:
    """Say what the value must be, without repeating what it was."""
    kind = fault.kind.name
    if kind == "enum":
        allowed = [str(option) for option in fault.kind.options]
        return f"must be one of {', '.join(allowed)}.{_closest(fault.instance, fault.kind.options)}"
    if kind == "type":
        return f"must be {_types([fault])}."
    if branches := getattr(fault.kind, "context", None):
        return f"must be {_types([fault for branch in branches for fault in branch if fault.kind.name == 'type'])}."
    if kind in _LIMITS:
        return _LIMITS[kind].format(fault.kind.limit)
    return f"does not fit the model's schema ({kind}). GET /v1/models shows it."


def _types(faults: Sequence[Any]) -> str:
    return " or ".join(dict.fromkeys(_TYPES[name] for fault in faults for name in fault.kind.types))


def _closest(given: Any, options: Sequence[Any]) -> str:
    """Suggest the closest option: of numbers the nearest, of texts the one spelt most alike."""
    numbers = [option for option in options if isinstance(option, int | float)]
    if isinstance(given, int | float) and not isinstance(given, bool) and numbers:
        return f" Did you mean {min(numbers, key=lambda option: abs(option - given))}?"
    return suggestion(str(given), map(str, options)).replace("'", "")
