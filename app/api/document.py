"""The OpenAPI document: FastAPI's own, with the models' inputs in it and without the 422 that we never answer."""

import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.api.schemas import JobRequest
from app.catalogue.catalogue import DEFAULT_MODEL, Catalogue, Model

_MEDIA = "A link (http or https), a data URI or the id of a file. Links go upstream as given; we never fetch them."
_UNUSED = ("HTTPValidationError", "ValidationError")


def write(app: FastAPI, *, catalogue: Catalogue) -> dict[str, Any]:
    """Return the document."""
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
    )
    for operation in (operation for path in document["paths"].values() for operation in path.values()):
        operation["responses"].pop("422", None)
    schemas = document["components"]["schemas"]
    for name in _UNUSED:
        schemas.pop(name, None)
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
    schema = model.properties[name]
    if name in model.media_parameters:
        return schema | {"description": _MEDIA}
    if schema.get("type") == "string" and name in model.input_schema.get("required", ()):
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
    """The form of the default model; other models' parameters are further parts."""
    image = {"type": "string", "format": "binary"}
    control = JobRequest.model_json_schema()["properties"]
    model = catalogue.get(DEFAULT_MODEL)
    return {
        "type": "object",
        "description": "Text parts are the control fields and the model's parameters, `metadata[key]` the metadata; "
        "file parts are named after the parameter they fill, or `image`, `tail_image`, `input_reference` for short.",
        "required": ["prompt", "image"],
        "properties": {name: schema for name, schema in control.items() if name not in ("input", "metadata")}
        | {"image": image, "tail_image": image}
        | {name: _parameter(name, model) for name in model.properties if name not in model.media_parameters},
        "example": {"prompt": "Mona Lisa puts on glasses with her hands.", "image": "(bytes of a JPEG)"},
    }
