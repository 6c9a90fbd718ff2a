"""From the parts of a form to the fields of a request: control fields, metadata, and the model's parameters."""

from collections.abc import Iterable
from typing import Any

from app.api import wire
from app.api.multipart import SHORT_NAMES, Form
from app.api.offering import Offer
from app.api.schemas import JobRequest
from app.catalogue.catalogue import DEFAULT_MODEL, Model
from app.catalogue.media import ATTACHED, MediaKind
from app.domain.errors import InvalidRequest

CONTROL_FIELDS = frozenset(JobRequest.model_fields) - {"input", "metadata"}
_MEANT: dict[str, tuple[MediaKind, tuple[str, ...]]] = {
    "image": ("image", ("image_url",)),
    "input_reference": ("image", ("image_url",)),
    "tail_image": ("image", ("tail_image_url", "last_image_url")),
    "video": ("video", ("video_url",)),
    "audio": ("audio", ("audio_url",)),
}
"""What each short name means: media of a kind, and the parameter that it stands for first."""
assert _MEANT.keys() == SHORT_NAMES


def request_of(form: Form, *, offer: Offer) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the request as JSON would have it, and the attached files by the words that stand for them in it."""
    model = offer.get(dict(form.texts).get("model", DEFAULT_MODEL)[: wire.LONGEST_NAME])
    given: dict[str, Any] = {"input": {}}
    metadata: dict[str, str] = {}
    for name, text in form.texts:
        if name == "metadata":
            _extend(metadata, _parsed(text, name=name), param="metadata")
        elif name.startswith("metadata[") and name.endswith("]"):
            _extend(metadata, {name[9:-1]: text}, param="metadata")
        elif name in CONTROL_FIELDS:
            _extend(given, {name: text}, param="")
        else:
            parameter = parameter_for(name, model) if name in _MEANT and name not in model.properties else name
            _fill(given["input"], parameter, text, model=model)
    attached = {}
    for number, (name, data) in enumerate(form.files):
        attached[f"{ATTACHED}{number}"] = data
        _fill(given["input"], parameter_for(name, model), f"{ATTACHED}{number}", model=model)
    given |= {"metadata": metadata} if metadata else {}
    wire.check_values(given)
    return given, attached


def _fill(filled: dict[str, Any], name: str, text: str, *, model: Model) -> None:
    """Set a parameter. Parts of one name make up a list where the parameter is one; lists and objects may be JSON."""
    types = set(_types(model.properties.get(name, {})))
    takes_list = "array" in types or not model.known
    value = _parsed(text, name=name) if text.startswith(_openings(types, model.properties.get(name, {}))) else text
    if name in filled and takes_list:
        value = [*_listed(filled[name]), *_listed(value)]
    elif types - {"null"} == {"array"}:
        value = _listed(value)
    elif name in filled:
        _extend(filled, {name: value}, param="input")
    filled[name] = value


def _openings(types: set[str], schema: dict[str, Any]) -> tuple[str, ...]:
    """Return with what characters a text begins that is JSON for this schema."""
    lists = "array" in types
    objects = "object" in types or "object" in _types(schema.get("items", {}))
    return (*(["["] if lists else []), *(["{"] if objects else []))


def _types(schema: dict[str, Any]) -> Iterable[str]:
    named = schema.get("type", ())
    yield from [named] if isinstance(named, str) else named
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _types(branch)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _extend(filled: dict[str, Any], more: Any, *, param: str) -> None:
    if not isinstance(more, dict):
        raise InvalidRequest(f"{param!r} must be a JSON object.", code="invalid_json", param=param)
    for name, value in more.items():
        if name in filled:
            path = f"{param}.{wire.shown(name)}".lstrip(".")
            raise InvalidRequest(f"{path!r} is given twice.", code="duplicate_field", param=path)
        filled[name] = value


def _parsed(text: str, *, name: str) -> Any:
    try:
        return wire.parse_value(text.encode())
    except InvalidRequest as error:
        raise InvalidRequest(f"The part {name!r}: {error.message}", code=error.code, param=name) from None


def parameter_for(name: str, model: Model) -> str:
    """Return the parameter that a file part fills: its own name, or the one it is short for."""
    if name in model.properties or name not in _MEANT:
        if name in model.media_parameters or not model.known:
            return name
        takes = ", ".join(model.media_parameters) or "none"
        raise InvalidRequest(
            f"{model.id} takes no file as {wire.shown(name)!r}. It takes: {takes}.",
            code="unknown_parameter",
            param=f"input.{wire.shown(name)}",
        )
    kind, named = _MEANT[name]
    if not model.known:
        return named[0]
    takers = [parameter for parameter, taken in model.media_parameters.items() if taken == kind]
    meant = [parameter for parameter in named if parameter in takers]
    if not meant and name != "tail_image":
        meant = [parameter for parameter in takers if parameter in model.required] or takers
    if not meant:
        raise InvalidRequest(
            f"{model.id} takes no {kind} as {name!r}.", code="unknown_parameter", param=f"input.{name}"
        )
    return meant[0]
