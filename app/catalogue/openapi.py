"""From the upstream's OpenAPI documents to the catalogue's facts: one schema a model, without prose."""

import re
from collections.abc import Iterator
from typing import Any

from app.catalogue.facts import UNIVERSAL_PATH, Facts

_COPIED = (
    "type", "enum", "default", "format", "pattern",
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "minLength", "maxLength", "minItems", "maxItems",
)  # fmt: skip
_UNIONS = ("anyOf", "oneOf")
_LINK_NAME = re.compile(r"(?:.*_)?url")
_DEEPEST = 32


class NotUsable(ValueError):
    """One of the schemas cannot be read."""


def models_of(document: Any) -> Iterator[Facts]:
    """Yield the facts of every model that a POST of the document takes; raise NotUsable.

    A model is what stands in the `enum` (or `const`) of a body's `model`. A body may be a union of several. The
    developer is not in these documents: it is what comes before the first slash of the id.
    """
    paths = document.get("paths") if isinstance(document, dict) else None
    for path, methods in paths.items() if isinstance(paths, dict) else ():
        for body in _bodies(methods, document):
            properties = dict(body.get("properties", {}))
            named = properties.pop("model", {})
            required = [name for name in body.get("required", []) if name != "model"]
            for model in _names(named):
                yield Facts(model, model.partition("/")[0], path, properties, required)


def _bodies(methods: Any, document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the schemas of what can be posted as JSON and names a model."""
    post = methods.get("post") if isinstance(methods, dict) else None
    if not isinstance(post, dict):
        return
    request = _resolved(post.get("requestBody", {}), document)
    schema = request.get("content", {}).get("application/json", {}).get("schema")
    if schema is None:
        return
    whole = cleaned(schema, document)
    for body in next((whole[union] for union in _UNIONS if union in whole), [whole]):
        if "model" in body.get("properties", {}):
            yield body


def _names(named: dict[str, Any]) -> list[str]:
    return [name for name in named.get("enum", []) if isinstance(name, str)]


def cleaned(schema: Any, document: dict[str, Any], *, depth: int = 0) -> dict[str, Any]:
    """Return the schema as JSON Schema has it (2020-12), its references resolved, nothing kept but what checks input.

    OpenAPI 3.0 writes `nullable: true` where JSON Schema writes the type `null`. Some documents mark a parameter
    `required: true` at the parameter itself, and some forget that a text is a link. Raises NotUsable.
    """
    if depth > _DEEPEST:
        raise NotUsable("a schema refers to itself, or is nested too deeply")
    schema = _resolved(schema, document)
    for part in schema.get("allOf", ()):
        schema = _merged(schema, _resolved(part, document))
    kept = {name: schema[name] for name in _COPIED if name in schema}
    if "const" in schema:
        kept["enum"] = [schema["const"]]
    for union in _UNIONS:
        if union in schema:
            kept[union] = [cleaned(branch, document, depth=depth + 1) for branch in schema[union]]
    if "items" in schema:
        kept["items"] = cleaned(schema["items"], document, depth=depth + 1)
    if properties := schema.get("properties"):
        inner = {name: cleaned(given, document, depth=depth + 1) for name, given in properties.items()}
        kept["properties"] = {name: _linked(name, given) for name, given in inner.items()}
        if required := _required(schema, document):
            kept["required"] = required
    return _nullable(kept) if schema.get("nullable") is True else kept


def _required(schema: dict[str, Any], document: dict[str, Any]) -> list[str]:
    listed = [name for name in _listed(schema) if name in schema["properties"]]
    resolved = {name: _resolved(given, document) for name, given in schema["properties"].items()}
    marked = [name for name, given in resolved.items() if given.get("required") is True and name not in listed]
    return [*listed, *marked]


def _listed(schema: dict[str, Any]) -> list[str]:
    found = schema.get("required")
    return found if isinstance(found, list) else []


def _linked(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with the format of a link, if the name says that it is one."""
    is_link = _LINK_NAME.fullmatch(name) and schema.get("type") == "string" and "enum" not in schema
    return schema | {"format": "uri"} if is_link else schema


def _nullable(kept: dict[str, Any]) -> dict[str, Any]:
    if any(union in kept for union in _UNIONS):
        return {union: [*kept[union], {"type": "null"}] for union in _UNIONS if union in kept}
    allowed = {"enum": [*kept["enum"], None]} if "enum" in kept else {}
    return kept | allowed | {"type": [kept["type"], "null"] if "type" in kept else "null"}


def _merged(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties", {}) | part.get("properties", {})
    required = [*_listed(schema), *_listed(part)]
    return part | schema | ({"properties": properties, "required": required} if properties else {})


def _resolved(schema: Any, document: dict[str, Any]) -> dict[str, Any]:
    """Follow `$ref`s within the document."""
    for _ in range(_DEEPEST):
        if not isinstance(schema, dict):
            raise NotUsable("a schema is no object")
        reference = schema.get("$ref")
        if reference is None:
            return schema
        found: Any = document
        for step in str(reference).removeprefix("#/").split("/"):
            found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        if found is None:
            raise NotUsable(f"it refers to {str(reference)[:200]!r}, which it does not hold")
        schema = found
    raise NotUsable("a reference refers to itself")


def preferred(one: Facts, other: Facts) -> Facts:
    """Return of two descriptions of one model that of the universal path, which every model is served on."""
    return one if one.path == UNIVERSAL_PATH or other.path != UNIVERSAL_PATH else other
