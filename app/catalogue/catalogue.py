"""Look models up, check and coerce a caller's input against a model's documented schema, know the defaults."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import jsonschema_rs

from app.catalogue import facts, faults, media
from app.catalogue.coercing import coerced
from app.catalogue.facts import UNIVERSAL_PATH
from app.catalogue.media import MediaKind, MediaPlace
from app.domain.errors import InvalidRequest, UnknownModel

DEFAULT_MODEL = "veo2/image-to-video"
MOST_FAULTS = 20
MOST_GUESSES = 3


@dataclass(frozen=True)
class Model:
    """One video model: its id, its developer, the upstream path that serves it and the schema of its input.

    A model that the upstream offers and this build does not know has no schema: `known` is False.
    """

    id: str
    developer: str
    path: str
    input_schema: dict[str, Any]
    known: bool = True

    @classmethod
    def unknown(cls, model_id: str, *, developer: str) -> "Model":
        """Return a model that only the upstream knows. Its input is passed on as it comes."""
        return cls(model_id, developer, UNIVERSAL_PATH, {}, known=False)

    @property
    def properties(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.input_schema.get("properties", {})
        return found

    @property
    def required(self) -> list[str]:
        found: list[str] = self.input_schema.get("required", [])
        return found

    @cached_property
    def media_parameters(self) -> dict[str, MediaKind]:
        """The top-level parameters that take a link or a file (single or a list), with the kind of media they take."""
        kinds = {name: media.kind_taken(name, schema) for name, schema in self.properties.items()}
        return {name: kind for name, kind in kinds.items() if kind is not None}

    def media_in(self, given: dict[str, Any]) -> list[MediaPlace]:
        """Return every link, data URI and file id of a checked input, with its place."""
        return media.places(given, self.properties) if self.known else list(media.guessed(given))

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
        closed: dict[str, Any] = _closed(self.input_schema) if self.known else {}
        return closed

    def check(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return `given` with text coerced to the documented types; raise InvalidRequest at the first fault."""
        if not self.known:
            return given
        as_typed: dict[str, Any] = coerced(given, self.input_schema)
        if found := list(itertools.islice(self._validator.iter_errors(as_typed), MOST_FAULTS)):
            raise faults.described(self.id, self.strict_schema, found)
        for name in self.required:
            if isinstance(as_typed[name], str) and not as_typed[name].strip():
                raise InvalidRequest(f"{name!r} must not be empty.", code="invalid_input", param=f"input.{name}")
        return as_typed


@dataclass(frozen=True)
class Catalogue:
    """The models that this build knows."""

    models: dict[str, Model] = field(default_factory=dict)

    def get(self, model_id: str) -> Model:
        """Return the model; raise UnknownModel, with the closest names, if there is none."""
        if model := self.models.get(model_id):
            return model
        raise no_such_model(model_id, self.models)


def no_such_model(name: str, known: Iterable[str]) -> UnknownModel:
    """Return the error that suggests the models with the closest names."""
    close = faults.suggestion(name, known, most=MOST_GUESSES)
    return UnknownModel(f"There is no model {name!r}.{close} GET /v1/models lists them all.", param="model")


@cache
def load() -> Catalogue:
    """Return the catalogue that ships with this build; it is read once."""
    models = (Model(known.id, known.developer, known.path, known.input_schema) for known in facts.read())
    return Catalogue({model.id: model for model in models})


def _closed(schema: Any) -> Any:
    """Return the schema with every object in it closed."""
    match schema:
        case list():
            return [_closed(inner) for inner in schema]
        case {"properties": dict(properties)}:
            inner = {name: _closed(given) for name, given in properties.items()}
            return schema | {"properties": inner, "additionalProperties": False}
        case dict():
            unions = {name: _closed(schema[name]) for name in ("anyOf", "oneOf", "items") if name in schema}
            return schema | unions
        case _:
            return schema
