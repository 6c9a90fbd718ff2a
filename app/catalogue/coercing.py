"""Text turned into the numbers and booleans that a schema asks for: forms hold nothing but text."""

import math
import re
from typing import Any

_NUMBER = re.compile(r"[-+]?[0-9.]{1,24}(?:[eE][-+]?[0-9]{1,3})?")


def coerced(value: Any, schema: dict[str, Any]) -> Any:
    """Return the value with every text that means a number or a boolean as one; the rest is the validator's."""
    match value:
        case str():
            return _scalar(value, schema)
        case list() if "items" in schema:
            return [coerced(inner, schema["items"]) for inner in value]
        case dict() if "properties" in schema:
            properties = schema["properties"]
            return {name: coerced(inner, properties.get(name, {})) for name, inner in value.items()}
        case _:
            return value


def _scalar(value: str, schema: dict[str, Any]) -> Any:
    match schema.get("type"):
        case "integer":
            return int(value) if _is_number(value, int) else value
        case "number":
            return float(value) if _is_number(value, float) else value
        case "boolean":
            return {"true": True, "false": False}.get(value.lower(), value)
        case _:
            return value


def _is_number(text: str, kind: type[int] | type[float]) -> bool:
    if not _NUMBER.fullmatch(text):
        return False
    try:
        return math.isfinite(kind(text))
    except ValueError:
        return False
