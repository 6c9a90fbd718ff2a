"""Look models up, check and coerce a caller's input against a model's documented schema, know the defaults."""

import difflib
import itertools
import json
import math
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import jsonschema_rs

from app.domain.errors import InvalidRequest, UnknownModel

DEFAULT_MODEL = "veo2/image-to-video"
LONGEST_GUESSED = 64
"""Longer words are no typing errors, and guessing at them costs time."""
MOST_FAULTS = 20
_NUMBER = re.compile(r"[-+]?[0-9.]{1,24}(?:[eE][-+]?[0-9]{1,3})?")
MediaKind = Literal["image", "video", "audio"]


@dataclass(frozen=True)
class Model:
    """One video model: its id, its developer, the upstream path that serves it and the schema of its input."""

    id: str
    developer: str
    path: str
    input_schema: dict[str, Any]

    @property
    def properties(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.input_schema["properties"]
        return found

    @cached_property
    def media_parameters(self) -> dict[str, MediaKind]:
        """The top-level parameters that take a link or a file (single or a list), with the kind of media they take."""
        return {name: _media_kind(name) for name, schema in self.properties.items() if _takes_uri(schema)}

    @cached_property
    def defaults(self) -> dict[str, Any]:
        return {name: schema["default"] for name, schema in self.properties.items() if "default" in schema}

    def effective(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the given input completed with the documented defaults: what prices and durations depend on."""
        return self.defaults | given

    @cached_property
    def _validator(self) -> Any:
        return jsonschema_rs.Draft202012Validator(self.strict_schema)

    @cached_property
    def strict_schema(self) -> dict[str, Any]:
        """The documented schema, closed: a parameter that the model does not have is an error, not a silent no-op."""
        return self.input_schema | {"additionalProperties": False}

    def check(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return `given` with text coerced to the documented types; raise InvalidRequest at the first fault."""
        coerced = {name: _coerce(value, self.properties.get(name, {})) for name, value in given.items()}
        for name in coerced:
            if name not in self.properties:
                raise InvalidRequest(
                    f"{self.id} has no parameter {name[:LONGEST_GUESSED]!r}.{_suggestion(name, self.properties)} "
                    f"It takes: {', '.join(self.properties)}.",
                    code="unknown_parameter",
                    param=f"input.{name[:LONGEST_GUESSED]}",
                )
        if faults := list(itertools.islice(self._validator.iter_errors(coerced), MOST_FAULTS)):
            # What a value may be helps more than what type it should have.
            raise _described(self, next((fault for fault in faults if fault.kind.name == "enum"), faults[0]))
        for name in self.input_schema.get("required", ()):
            if isinstance(coerced[name], str) and not coerced[name].strip():
                raise InvalidRequest(f"{name!r} must not be empty.", code="invalid_input", param=f"input.{name}")
        return coerced


@dataclass(frozen=True)
class Catalogue:
    """The models that this build knows."""

    models: dict[str, Model] = field(default_factory=dict)

    def get(self, model_id: str) -> Model:
        """Return the model; raise UnknownModel, with the closest name, if there is none."""
        if model := self.models.get(model_id):
            return model
        raise UnknownModel(
            f"There is no model {model_id!r}.{_suggestion(model_id, self.models)} GET /v1/models lists them all.",
            param="model",
        )


def load() -> Catalogue:
    """Read the catalogue that ships with this build."""
    facts = json.loads((Path(__file__).parent / "models.json").read_text("utf-8"))
    models = (Model(m["id"], m["developer"], m["path"], m["input"]) for m in facts["models"])
    return Catalogue({model.id: model for model in models})


def _takes_uri(schema: dict[str, Any]) -> bool:
    return schema.get("format") == "uri" or schema.get("items", {}).get("format") == "uri"


def _media_kind(name: str) -> MediaKind:
    if "audio" in name:
        return "audio"
    return "video" if "video" in name or name == "alpha_url" else "image"


def _coerce(value: Any, schema: dict[str, Any]) -> Any:
    """Turn text into the number or boolean that the schema asks for; leave everything else to the validator."""
    if not isinstance(value, str):
        return value
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


def _suggestion(name: str, known: dict[str, Any]) -> str:
    close = difflib.get_close_matches(name[:LONGEST_GUESSED], known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _described(model: Model, fault: Any) -> InvalidRequest:
    """Turn a schema violation into a sentence that names the field and what it may be."""
    path = [str(part) for part in fault.instance_path]
    if fault.kind.name == "required":
        path.append(fault.kind.property)
        message = f"{model.id} needs {path[-1]!r}."
    else:
        message = f"{path[-1] if path else 'input'!r}: {_expectation(fault)}"
    return InvalidRequest(message, code="invalid_input", param=".".join(["input", *path]))


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


def _expectation(fault: Any) -> str:
    """Say what the value must be, without repeating what it was."""
    kind = fault.kind.name
    if kind == "enum":
        allowed = [str(option) for option in fault.kind.options]
        close = difflib.get_close_matches(str(fault.instance)[:LONGEST_GUESSED], allowed, n=1)
        return f"must be one of {', '.join(allowed)}." + (f" Did you mean {close[0]}?" if close else "")
    if kind == "type":
        return f"must be {' or '.join(_TYPES[name] for name in fault.kind.types)}."
    if kind in _LIMITS:
        return _LIMITS[kind].format(fault.kind.limit)
    return f"does not fit the model's schema ({kind}). GET /v1/models shows it."
