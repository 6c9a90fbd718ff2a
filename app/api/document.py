"""The OpenAPI document: FastAPI's own, with the models' inputs in it and without the 422 that it adds by itself."""

import re
from contextlib import suppress
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.api import describing, forms
from app.api.schemas import JobRequest
from app.catalogue.catalogue import DEFAULT_MODEL, Catalogue, Model
from app.domain.errors import InvalidRequest

_MEDIA = "A link (http or https), a data URI or the id of a file. Links go upstream as given; we never fetch them."
_FILE = {"type": "string", "format": "binary"}
_UNUSED = ("HTTPValidationError", "ValidationError")


def write(app: FastAPI, *, catalogue: Catalogue) -> dict[str, Any]:
    """Return the document."""
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
    )
    for operation in (operation for path in document["paths"].values() for operation in path.values()):
        if _UNUSED[0] in str(operation["responses"].get("422")):
            del operation["responses"]["422"]
    schemas = document["components"]["schemas"]
    for name in _UNUSED:
        schemas.pop(name, None)
    schemas |= describing.refusal_schemas()
    schemas |= {_schema_name(model): _input_schema(model) for model in catalogue.models.values()}
    schemas["JobRequest"] = _job_request(catalogue)
    schemas["JobForm"] = _job_form(catalogue)
    return document


def _schema_name(model: Model) -> str:
    return "Input_" + re.sub(r"[^A-Za-z0-9.-]+", "_", model.id)


def _input_schema(model: Model) -> dict[str, Any]:
    described = {name: _parameter(name, model) for name in model.properties}
    return model.strict_schema | {"title": f"Input of {model.id}", "properties": described}


def _parameter(name: str, model: Model) -> dict[str, Any]:
    schema: dict[str, Any] = model.strict_schema["properties"][name]
    if name in model.media_parameters:
        return schema | {"description": _MEDIA}
    if schema.get("type") == "string" and name in model.required:
        return schema | {"pattern": r"\S"}
    return schema


def _job_request(catalogue: Catalogue) -> dict[str, Any]:
    """The request as its class has it, with each model tied to its own input."""
    schema = JobRequest.model_json_schema()
    schema["properties"]["model"]["enum"] = list(catalogue.models)
    schema["required"] = ["input"]
    schema["anyOf"] = [
        {
            "required": ["input"] if model.id == DEFAULT_MODEL else ["input", "model"],
            "properties": {
                "model": {"const": model.id},
                "input": {"$ref": f"#/components/schemas/{_schema_name(model)}"},
            },
        }
        for model in catalogue.models.values()
    ]
    return schema


def _job_form(catalogue: Catalogue) -> dict[str, Any]:
    control = {name: _given(schema) for name, schema in JobRequest.model_json_schema()["properties"].items()}
    del control["input"], control["metadata"]
    return {
        "description": "Text parts are the control fields and the model's parameters, `metadata[key]` the metadata. A "
        "parameter that takes a link may also be a file, sent as a part of its name; one that takes several is sent as "
        "several parts. `image`, `tail_image`, `video`, `audio` (and `input_reference`) are short for the parameters "
        "that take such; they may hold a link too. Objects, and lists if you like, are JSON.",
        "anyOf": [_form_of(model, control) for model in catalogue.models.values()],
    }


def _form_of(model: Model, control: dict[str, Any]) -> dict[str, Any]:
    """One model's form. JSON Schema can't say "this or its short name", so media have their short names here."""
    short = _short_names(model)
    required = [short.get(name, name) for name in model.required]
    return {
        "type": "object",
        "title": f"Form for {model.id}",
        "additionalProperties": False,
        "required": required if model.id == DEFAULT_MODEL else [*required, "model"],
        "properties": control
        | {"model": {"const": model.id}}
        | {short.get(name, name): _part(name, model) for name in model.properties},
        "patternProperties": {r"^metadata\[[A-Za-z0-9_.-]{1,64}\]$": {"type": "string", "maxLength": 512}},
    }


def _short_names(model: Model) -> dict[str, str]:
    """Return the parameters that have a short name, with the first of their names."""
    short: dict[str, str] = {}
    for name in ("image", "tail_image", "video", "audio"):
        with suppress(InvalidRequest):
            short.setdefault(forms.parameter_for(name, model), name)
    return short


def _part(name: str, model: Model) -> dict[str, Any]:
    """Return what stands in a form for a parameter: for what takes a link, a file."""
    if name not in model.media_parameters:
        return _parameter(name, model)
    schema = model.strict_schema["properties"][name]
    if "items" not in schema:
        return dict(_FILE)
    limits = {limit: schema[limit] for limit in ("minItems", "maxItems") if limit in schema}
    return {"type": "array", "items": _FILE} | limits


def _given(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a field that is given: a form has no null."""
    [given, *_] = schema.get("anyOf", [schema])
    return dict(given)
