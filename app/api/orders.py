"""From a body, JSON or form, to an order: the checked request, its model and input, and the files that came along."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.api import wire
from app.api.multipart import Form
from app.api.schemas import JobRequest, checked
from app.catalogue.catalogue import DEFAULT_MODEL, Catalogue, Model
from app.domain.errors import InvalidRequest

LARGEST_INPUT = 256 << 10
FORM_FIELDS = frozenset(JobRequest.model_fields) - {"input", "metadata"}
SHORT_NAMES = {
    "image": ("image_url",),
    "input_reference": ("image_url",),
    "tail_image": ("tail_image_url", "last_image_url"),
}
ATTACHED = "attached:"
"""How a file part stands in the input until it is stored. It is looked up, never trusted."""


@dataclass(frozen=True, slots=True)
class Order:
    """A request that is right as far as the catalogue knows. `input` may hold data URIs and attached files."""

    request: JobRequest
    model: Model
    input: dict[str, Any]
    attached: Mapping[str, bytes] = field(default_factory=dict)


def order_of(body: dict[str, Any] | Form, *, catalogue: Catalogue) -> Order:
    """Check the body of a request for a job; raise InvalidRequest for the first fault."""
    if isinstance(body, Form):
        given, attached = _from_form(body, catalogue=catalogue)
    else:
        given, attached = body, {}
    order = checked(given, schema=JobRequest, strict=not isinstance(body, Form))
    model = catalogue.get(order.model)
    return Order(order, model, model.check(order.input), attached)


def require_storable_size(given: dict[str, Any]) -> None:
    """Raise InvalidRequest for an input that is too large once its images are stored apart."""
    if len(json.dumps(given, ensure_ascii=False)) > LARGEST_INPUT:
        raise InvalidRequest(
            f"The input is longer than {LARGEST_INPUT} characters without its images.",
            code="input_too_large",
            param="input",
        )


def _from_form(form: Form, *, catalogue: Catalogue) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Sort the parts into control fields, metadata and the model's parameters."""
    model = catalogue.get(dict(form.texts).get("model", DEFAULT_MODEL)[: wire.LONGEST_NAME])
    given: dict[str, Any] = {"input": {}}
    metadata: dict[str, str] = {}
    for name, text in form.texts:
        if name == "metadata":
            _extend(metadata, _json_object(text, name=name), param="metadata")
        elif name.startswith("metadata[") and name.endswith("]"):
            _extend(metadata, {name[9:-1]: text}, param="metadata")
        elif name in FORM_FIELDS:
            _extend(given, {name: text}, param="")
        else:
            _fill(given["input"], name, text, model=model)
    attached = {}
    for number, (name, data) in enumerate(form.files):
        attached[f"{ATTACHED}{number}"] = data
        _fill(given["input"], _parameter_for(name, model), f"{ATTACHED}{number}", model=model)
    given |= {"metadata": metadata} if metadata else {}
    wire.check_values(given)
    return given, attached


def _fill(filled: dict[str, Any], name: str, text: str, *, model: Model) -> None:
    """Set a parameter; parts of one name make up a list where the parameter is one."""
    if model.properties.get(name, {}).get("type") != "array":
        _extend(filled, {name: text}, param="input")
        return
    filled.setdefault(name, []).append(text)


def _extend(filled: dict[str, Any], more: dict[str, Any], *, param: str) -> None:
    for name, value in more.items():
        if name in filled:
            path = f"{param}.{wire.shown(name)}".lstrip(".")
            raise InvalidRequest(f"{path!r} is given twice.", code="duplicate_field", param=path)
        filled[name] = value


def _json_object(text: str, *, name: str) -> dict[str, Any]:
    try:
        return wire.parse_json(text.encode())
    except InvalidRequest as error:
        raise InvalidRequest(f"The part {name!r}: {error.message}", code=error.code, param=name) from None


def _parameter_for(name: str, model: Model) -> str:
    """Return the parameter that a file part fills: its own name, or the one it is short for."""
    if name in model.properties or name not in SHORT_NAMES:
        if name in model.media_parameters:
            return name
        takes = ", ".join(model.media_parameters) or "none"
        raise InvalidRequest(
            f"{model.id} takes no file as {wire.shown(name)!r}. It takes: {takes}.",
            code="unknown_parameter",
            param=f"input.{wire.shown(name)}",
        )
    images = [parameter for parameter, kind in model.media_parameters.items() if kind == "image"]
    meant = [parameter for parameter in SHORT_NAMES[name] if parameter in images]
    if not meant and name != "tail_image":
        required = model.input_schema.get("required", ())
        meant = [parameter for parameter in images if parameter in required] or images
    if not meant:
        raise InvalidRequest(f"{model.id} takes no image as {name!r}.", code="unknown_parameter", param=f"input.{name}")
    return meant[0]
