"""Inputs made from a schema: a right one, the same with every parameter, and one wrong one for each constraint."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from app.catalogue.catalogue import Model
from tests.factories import LINK

Schema = dict[str, Any]
PROMPT = "A boat."


class Wrong(NamedTuple):
    """An input that breaks one constraint, and the field that a refusal must name."""

    constraint: str
    param: str
    input: dict[str, Any]


def least(model: Model) -> dict[str, Any]:
    """Return an input with what is required, and the prompt if the model has one."""
    wanted = [*model.required, *(["prompt"] if "prompt" in model.properties else [])]
    return {name: right(model.properties[name], name) for name in dict.fromkeys(wanted)}


def most(model: Model) -> dict[str, Any]:
    """Return an input with every parameter."""
    return {name: right(schema, name) for name, schema in model.properties.items()}


def right(schema: Schema, name: str) -> Any:
    """Return a value that the schema allows."""
    if union := schema.get("anyOf") or schema.get("oneOf"):
        return right(union[0], name)
    if "enum" in schema:
        return schema["enum"][-1]
    kind = schema["type"] if isinstance(schema["type"], str) else schema["type"][0]
    match kind:
        case "string":
            return LINK if schema.get("format") == "uri" else PROMPT.ljust(schema.get("minLength", 0), ".")
        case "integer" | "number":
            return schema.get("minimum", schema.get("maximum", 1))
        case "boolean":
            return True
        case "array":
            return [right(schema["items"], name)] * max(1, schema.get("minItems", 0))
        case "object":
            return {inner: right(given, inner) for inner, given in schema["properties"].items()}
    raise AssertionError(kind)


def wrong(model: Model) -> Iterator[Wrong]:
    """Yield one wrong input for each constraint of the model's schema, however deep it stands."""
    good = least(model)
    for name in model.required:
        yield Wrong("required", f"input.{name}", {key: value for key, value in good.items() if key != name})
    yield Wrong("unknown", "input.no_such_parameter", good | {"no_such_parameter": 1})
    for name, schema in model.properties.items():
        for constraint, path, value in _broken(schema, name):
            yield Wrong(f"{name}: {constraint}", ".".join(["input", name, *path]), good | {name: value})


Broken = tuple[str, tuple[str, ...], Any]


def _broken(schema: Schema, name: str) -> Iterator[Broken]:
    """Yield a constraint, the path to the field that breaks it, and the value."""
    if union := schema.get("anyOf") or schema.get("oneOf"):
        yield "union", (), 12.5
        yield from (broken for broken in _broken(union[0], name) if broken[1])
        return
    if "enum" in schema:
        yield "enum", (), "no such option" if isinstance(schema["enum"][0], str) else 98_765
    if "minimum" in schema:
        yield "minimum", (), schema["minimum"] - 1
    if "maximum" in schema:
        yield "maximum", (), schema["maximum"] + 1
    kind = schema["type"] if isinstance(schema["type"], str) else schema["type"][0]
    yield "type", (), {"a": "list"} if kind == "array" else ["an", "object"] if kind == "object" else {"no": "scalar"}
    match kind:
        case "integer" | "number" | "boolean":
            yield "text", (), "some"
        case "string":
            yield from _broken_text(schema)
        case "array":
            yield from _broken_list(schema, name)
        case "object":
            yield from _broken_object(schema)


def _broken_text(schema: Schema) -> Iterator[Broken]:
    if schema.get("format") == "uri":
        yield "link", (), "ftp://example.com/no-link"
    if schema.get("minLength"):
        yield "minLength", (), ""
    if "maxLength" in schema:
        yield "maxLength", (), "x" * (schema["maxLength"] + 1)


def _broken_list(schema: Schema, name: str) -> Iterator[Broken]:
    good = right(schema["items"], name)
    if schema.get("minItems"):
        yield "minItems", (), [good] * (schema["minItems"] - 1)
    if "maxItems" in schema:
        yield "maxItems", (), [good] * (schema["maxItems"] + 1)
    others = [good] * max(0, schema.get("minItems", 0) - 1)
    for constraint, path, value in _broken(schema["items"], name):
        yield f"items: {constraint}", ("0", *path), [value, *others]


def _broken_object(schema: Schema) -> Iterator[Broken]:
    good = right(schema, "")
    for name in schema.get("required", ()):
        yield f"required {name}", (name,), {key: value for key, value in good.items() if key != name}
    yield "unknown", ("no_such_field",), good | {"no_such_field": 1}
    for name, given in schema["properties"].items():
        for constraint, path, value in _broken(given, name):
            yield f"{name}: {constraint}", (name, *path), good | {name: value}
