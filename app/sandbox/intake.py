"""Reading a submission as the upstream does: its JSON, its model's schema, the media inside it."""

import asyncio
import base64
import binascii
import hashlib
import io
import json
import math
from pathlib import Path
from typing import Any

import jsonschema_rs
from PIL import Image, UnidentifiedImageError

from app.catalogue import media
from app.catalogue.catalogue import Model
from app.sandbox.answers import Refused

STILL = "still:"
"""Stands before the checksum where a decoded image was: the image itself lies in the stills folder."""

_MAX_PIXELS = 50_000_000
_IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
_NOT_AN_IMAGE = (
    OSError, ValueError, SyntaxError, EOFError, UnidentifiedImageError,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


def invalid(expectation: str) -> Refused:
    return Refused(400, f"Body validation error: {expectation}")


def read_body(raw: bytes) -> dict[str, Any]:
    """Return the flat body; raise Refused (400) if it is no JSON object or names no model."""
    try:
        body = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise invalid("expected a JSON object, received something that does not parse") from None
    if not isinstance(body, dict):
        raise invalid(f"expected object, received {_kind(body)}")
    if not isinstance(body.get("model"), str):
        raise invalid(f'"model" expected string, received {_kind(body.get("model"))}')
    return body


def check(model: Model, given: dict[str, Any]) -> dict[str, Any]:
    """Return the input with numbers sent as text read as numbers; raise Refused (400) at the first fault.

    A parameter that the model does not document is refused: a caller whose private fields leak upstream finds out.
    """
    inputs = {name: _number_in_text(value, model.properties.get(name, {})) for name, value in given.items()}
    validator = jsonschema_rs.Draft202012Validator(model.strict_schema)
    for fault in validator.iter_errors(inputs):
        raise invalid(_expectation(fault))
    return inputs


async def keep_media(model: Model, inputs: dict[str, Any], stills: Path) -> dict[str, Any]:
    """Return the input with every inline image checked, stored and named by its checksum; others are named only.

    Raises Refused (400) for what neither is a link nor decodes. Links are never fetched.
    """
    kept = inputs
    for place in model.media_in(inputs):
        name = ".".join(map(str, place.path))
        kept = media.replaced(kept, place.path, await _keep(name, place.kind, place.value, stills))
    return kept


async def _keep(name: str, kind: str | None, value: str, stills: Path) -> str:
    if value.startswith(("http://", "https://")):
        return value
    if not value.startswith("data:"):
        raise invalid(f'"{name}" expected a URL or a base64 data URI, received {_kind(value)}')
    try:
        content = base64.b64decode(value.partition(",")[2], validate=True)
    except (binascii.Error, ValueError):
        raise invalid(f'"{name}" expected base64, received text that is not') from None
    digest = hashlib.sha256(content).hexdigest()
    if kind != "image":
        return f"inline:{digest}"
    if not (stills / digest).exists():
        await asyncio.to_thread(_store_still, name, content, stills / digest)
    return STILL + digest


def _store_still(name: str, content: bytes, path: Path) -> None:
    try:
        with Image.open(io.BytesIO(content), formats=_IMAGE_FORMATS) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise invalid(f'"{name}" expected at most {_MAX_PIXELS} pixels, received {image.width}x{image.height}')
            image.load()
    except _NOT_AN_IMAGE:
        raise invalid(f'"{name}" expected an image, received bytes that do not decode as one') from None
    part = path.with_suffix(f".{id(content)}.part")
    part.write_bytes(content)
    part.replace(path)


def _number_in_text(value: Any, schema: dict[str, Any]) -> Any:
    """Read `"5"` as 5 where a number is wanted: the vendor's own examples send it so."""
    if not isinstance(value, str) or schema.get("type") not in ("integer", "number"):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    if not math.isfinite(number):
        return value
    return int(number) if number.is_integer() else number


def _expectation(fault: Any) -> str:
    """Put a schema violation into the upstream's words: what was expected, what was received."""
    where = ".".join(str(part) for part in fault.instance_path)
    match fault.kind.name:
        case "required":
            return f'"{fault.kind.property}" expected a value, received undefined'
        case "additionalProperties":
            return f"unrecognized key(s): {', '.join(fault.kind.unexpected)}"
        case "enum":
            options = " | ".join(json.dumps(option) for option in fault.kind.options)
            return f'"{where}" expected {options}, received {json.dumps(fault.instance)[:100]}'
        case "type":
            return f'"{where}" expected {" | ".join(fault.kind.types)}, received {_kind(fault.instance)}'
        case _:
            return f'"{where}" {str(fault.message)[:200]}'


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _kind(value: Any) -> str:
    names = {type(None): "undefined", str: "string", bool: "boolean", int: "number", float: "number", list: "array"}
    return names.get(type(value), "object")
