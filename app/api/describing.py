"""What the OpenAPI document says beyond the signatures: every refusal, the bodies with examples, headers."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.api.aimlapi_shapes import Refusal
from app.api.schemas import ErrorBody, RemixRequest, Resolution, RetryRequest
from app.domain.views import JobView

Described = dict[int | str, dict[str, Any]]

_REFUSALS = {
    400: "Something in the request is wrong; `param` names the field.",
    401: "The key, or the signed URL, does not work.",
    403: "The key lacks a scope, or the project is archived.",
    404: "There is no such thing here; also the answer for another project's.",
    409: "The job's state does not allow it.",
    410: "What was made with this `Idempotency-Key` was deleted.",
    413: "The body is too large.",
    415: "The body has a type that is not taken here.",
    416: "The range lies outside of the object.",
    422: "This `Idempotency-Key` was used with another body or address in the last 24 hours.",
    429: "The project's rate or budget has no room; `type` says which, `Retry-After` when it may have.",
    503: "The database or the storage is away or full; try again after `Retry-After` seconds.",
}


def body(schema: type[BaseModel] | dict[str, Any], example: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Describe a JSON body."""
    described = schema if isinstance(schema, dict) else schema.model_json_schema()
    content = {"application/json": {"schema": described, "example": example}}
    return {"requestBody": more | {"content": content}}


def made(what: str) -> Described:
    """Describe the headers of the answer to who has made something."""
    again = {"type": "string", "enum": ["true"]}, f"The {what} was made by an earlier try of this request."
    said = {"Location": ({"type": "string"}, f"The {what}'s address."), "Idempotent-Replayed": again}
    return {201: {"headers": {name: {"schema": schema, "description": text} for name, (schema, text) in said.items()}}}


def answers(*statuses: int) -> Described:
    """Declare refusals, each with the one envelope. Whoever needs a key may also come too often."""
    declared = sorted({*statuses, 429} if 401 in statuses else statuses)
    return _refusals(declared, ErrorBody)


def foreign_answers(*statuses: int) -> Described:
    """Declare refusals in the envelope of the AI/ML API."""
    return _refusals(statuses, Refusal)


def _refusals(statuses: Iterable[int], schema: type[BaseModel]) -> Described:
    """Refer to the schema, which the document adds by itself: FastAPI would make a field of it for each of hundreds."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema.__name__}"}}}
    return {status: {"description": _REFUSALS[status], "content": content} for status in statuses}


def _header(name: str, description: str, **more: Any) -> dict[str, Any]:
    """Describe a header of the request."""
    return {
        "parameters": [{"name": name, "in": "header", "description": description, "schema": {"type": "string"}} | more]
    }


def refusal_schemas() -> dict[str, Any]:
    """Return the schemas that refusals refer to."""
    _, described = models_json_schema(
        [(ErrorBody, "serialization"), (Refusal, "serialization")], ref_template="#/components/schemas/{model}"
    )
    found: dict[str, Any] = described["$defs"]
    return found


LIVE_RETRY: Described = {200: {"model": JobView, "description": "The retry that is under way, or succeeded."}}
CANCEL_NOTED: Described = {202: {"model": JobView, "description": "It is being submitted; the wish is noted."}}
CLAIM_PENDING: Described = {202: {"model": JobView, "description": "The generation could not be checked yet."}}
_EVENT_STREAM = {"text/event-stream": {"schema": {"type": "string"}}}
EVENTS: Described = {200: {"description": "A page of events, or the live stream.", "content": _EVENT_STREAM}}
NO_MORE_EVENTS: Described = {204: {"description": "Live: the job has ended, and there is nothing after that event."}}
LAST_EVENT_ID = _header("Last-Event-ID", "Live: go on after this event, as browsers do by themselves.")
NOT_MODIFIED: Described = {304: {"description": "Nothing new since the view that `If-None-Match` names."}}


def _bytes(*kinds: str) -> Described:
    """Describe the answers with the bytes of something, whole or in part."""
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}
    return {
        200: {"description": "All of it.", "content": content},
        206: {"description": "The range asked for.", "content": content},
        304: {"description": "The caller has it already."},
    }


CONTENT: Described = _bytes("video/mp4", "image/jpeg") | {
    302: {"description": "The bytes are at `Location`, a link into the storage that opens for 15 minutes at most."}
}
FILE_CONTENT: Described = _bytes("image/*", "video/*", "audio/*")
FILE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "string", "format": "binary"}},
                    "required": ["file"],
                    "additionalProperties": False,
                }
            }
        },
    }
}

EXAMPLE: dict[str, Any] = {
    "model": "veo2/image-to-video",
    "input": {
        "prompt": "Mona Lisa puts on glasses with her hands.",
        "image_url": "https://example.com/mona-lisa.jpg",
        "duration": 5,
    },
    "metadata": {"order": "A-17"},
    "max_cost_usd": 3.5,
}
JOB_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/JobRequest"}, "example": EXAMPLE},
            "multipart/form-data": {"schema": {"$ref": "#/components/schemas/JobForm"}},
        },
    }
}
RETRY_BODY = body(RetryRequest, {"accept_new_charge": True})
_VIDEO_FIELDS: dict[str, Any] = {
    "type": "object",
    "description": "Further fields are control fields of `POST /v1/jobs`, or parameters of the model.",
    "properties": {
        "prompt": {"type": "string"},
        "model": {"type": "string"},
        "seconds": {"type": "string", "description": "How long; what the model cannot do is refused."},
        "size": {"type": "string", "description": "WIDTHxHEIGHT; what the model cannot do is refused."},
    },
    "required": ["prompt"],
}
_FILE: dict[str, Any] = {"input_reference": {"type": "string", "format": "binary"}}
_REFERENCE: dict[str, Any] = {"input_reference": {"type": "string", "description": "A link, a data URI or a file id."}}
VIDEO_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": _VIDEO_FIELDS | {"properties": _VIDEO_FIELDS["properties"] | reference}}
            for kind, reference in (("multipart/form-data", _FILE), ("application/json", _REFERENCE))
        },
    }
}
REMIX_BODY = body(RemixRequest, {"prompt": "The sailboat turns."}, required=True)
GENERATION_BODY = body(
    {
        "type": "object",
        "description": "The model, and its own parameters beside it.",
        "properties": {"model": {"type": "string"}},
        "required": ["model"],
    },
    {"model": EXAMPLE["model"], **EXAMPLE["input"]},
    required=True,
)
_FIELDS = Resolution.model_json_schema()["properties"]
_RESOLUTION: dict[str, Any] = {
    "oneOf": [
        {
            "type": "object",
            "properties": {"action": _FIELDS["action"] | {"enum": actions}, **more},
            "required": ["action", *more],
            "additionalProperties": False,
        }
        for actions, more in (
            (["attach"], {"generation_id": {"type": "string", "minLength": 1, "maxLength": 255}}),
            (["not_created", "give_up"], {}),
        )
    ]
}
RESOLVE_BODY = body(
    _RESOLUTION, {"action": "attach", "generation_id": "0c4b5b2e-8a55-4f5b-9b1e-5f7a1c2d3e4f"}, required=True
)
METADATA_FILTER: dict[str, Any] = {
    "parameters": [
        {
            "name": "metadata",
            "in": "query",
            "style": "deepObject",
            "explode": True,
            "description": "`metadata[key]=value`: only jobs with all of these.",
            "schema": {
                "type": "object",
                "maxProperties": 16,
                "propertyNames": {"pattern": "^[A-Za-z0-9_.-]{1,64}$"},
                "additionalProperties": {"type": "string", "maxLength": 512},
            },
        }
    ]
}
IF_NONE_MATCH = _header("If-None-Match", "The `ETag` you have.")
IDEMPOTENCY_KEY = _header(
    "Idempotency-Key",
    "Your own name for this request, quoted or bare: the same request with the same key within "
    "24 hours makes nothing new and gets the first answer again, byte for byte.",
    schema={"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-~]([ -~]*[!-~])?$"},
    example="order-A-17",
)
SIGNED_OR_KEY: dict[str, Any] = {"security": [{"key": []}, {}]}
