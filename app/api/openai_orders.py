"""From a body of the OpenAI Videos API to an order: `size`, `seconds` and `input_reference` become parameters."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from app.api import forms, openai_sizes, wire
from app.api.multipart import Form
from app.api.offering import Offer
from app.api.orders import Order
from app.api.schemas import JobRequest, checked, refuse_crowds
from app.catalogue.catalogue import DEFAULT_MODEL, Model
from app.catalogue.media import ATTACHED
from app.domain.errors import InvalidRequest

REFERENCE = "input_reference"
_NOTES = "metadata"
"""Always an object, and its keys may be numbers."""
_CONTROL = forms.CONTROL_FIELDS | {_NOTES}
_STEP = re.compile(r"\[([^\[\]]*)\]")
_LONGEST_LIST = 100


def order_of(body: dict[str, Any] | Form, offer: Offer) -> Order:
    """Check a body for a video; raise InvalidRequest for the first fault."""
    fields, files = (_unfolded(body.texts), body.files) if isinstance(body, Form) else (body, [])
    return _order(fields, files, offer=offer, strict=not isinstance(body, Form))


def _order(fields: dict[str, Any], files: list[tuple[str, bytes]], *, offer: Offer, strict: bool) -> Order:
    refuse_crowds(fields)
    control = {name: value for name, value in fields.items() if name in _CONTROL}
    request = checked(control, schema=JobRequest, strict=strict)
    model = offer.get(control.get("model", DEFAULT_MODEL))
    given = {name: value for name, value in fields.items() if name not in _CONTROL}
    size, seconds, reference = (given.pop(name, None) for name in ("size", "seconds", REFERENCE))
    if reference is not None:
        _set(given, forms.parameter_for(REFERENCE, model), _referred(reference), model=model)
    attached = {}
    for number, (name, data) in enumerate(files):
        attached[f"{ATTACHED}{number}"] = data
        _set(given, forms.parameter_for(_plain(name), model), f"{ATTACHED}{number}", model=model)
    if seconds is not None:
        given = openai_sizes.with_seconds(model, given, _word(seconds, name="seconds"))
    if size is not None:
        given = openai_sizes.with_size(model, given, _word(size, name="size"))
    wire.check_values(given)
    return Order(request.model_copy(update={"input": given}), model, model.check(given), attached)


def _set(given: dict[str, Any], parameter: str, value: str, *, model: Model) -> None:
    """Set a parameter that takes media; a list of them is extended."""
    if model.properties.get(parameter, {}).get("type") == "array":
        given[parameter] = [*given.get(parameter, []), value]
        return
    if parameter in given:
        raise InvalidRequest(f"{parameter!r} is given twice.", code="duplicate_field", param=parameter)
    given[parameter] = value


def _referred(reference: Any) -> str:
    """Return the link, data URI or file id that a reference names."""
    named = [reference] if isinstance(reference, str) else []
    if isinstance(reference, Mapping) and len(reference) == 1:
        named = [reference[name] for name in ("image_url", "file_id") if name in reference]
    if len(named) == 1 and isinstance(named[0], str):
        return named[0]
    raise InvalidRequest(
        f'{REFERENCE!r} must be a file, a link, or one of {{"image_url": ...}} and {{"file_id": ...}}.',
        code="invalid_input",
        param=REFERENCE,
    )


def _word(value: Any, *, name: str) -> str:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise InvalidRequest(f"{name!r} must be a text.", code="invalid_input", param=name)


def _plain(name: str) -> str:
    """Return the name of a part without the brackets that stand for a list."""
    return name.partition("[")[0]


def _unfolded(texts: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the fields of a form: `name[key]` is a field of an object, `name[]` or `name[0]` an entry of a list."""
    fields: dict[str, Any] = {}
    for name, text in texts:
        head, *_ = name.partition("[")
        steps = _STEP.findall(name[len(head) :])
        if not head or "".join(f"[{step}]" for step in steps) != name[len(head) :] or len(steps) > wire.DEEPEST:
            raise _unreadable(name)
        _put(fields, [head, *steps], text, name=name)
    return fields


def _put(owner: dict[str, Any], steps: list[str], text: str, *, name: str) -> None:
    step, following = steps[0], steps[1:]
    if not following:
        if step in owner:
            raise InvalidRequest(
                f"{wire.shown(name)!r} is given twice.", code="duplicate_field", param=wire.shown(name)
            )
        owner[step] = text
        return
    if (following[0] == "" or following[0].isdecimal()) and name.partition("[")[0] != _NOTES:
        _append(owner.setdefault(step, []), following, text, name=name)
        return
    inner = owner.setdefault(step, {})
    if not isinstance(inner, dict):
        raise _unreadable(name)
    _put(inner, following, text, name=name)


def _append(entries: Any, steps: list[str], text: str, *, name: str) -> None:
    """Add to a list: `[]` a new entry, `[2]` to the third, which may be the one after the last."""
    if not isinstance(entries, list):
        raise _unreadable(name)
    step, following = steps[0], steps[1:]
    place = len(entries) if step == "" else int(step[:4])
    if place > len(entries) or place >= _LONGEST_LIST:
        raise _unreadable(name)
    if not following:
        if place < len(entries):
            raise _unreadable(name)
        entries.append(text)
        return
    if place == len(entries):
        entries.append({})
    if not isinstance(entries[place], dict):
        raise _unreadable(name)
    _put(entries[place], following, text, name=name)


def _unreadable(name: str) -> InvalidRequest:
    shown = wire.shown(name)
    return InvalidRequest(
        f"The part {shown!r} cannot be read: name objects as name[key] and lists as name[].",
        code="invalid_form",
        param=shown,
    )
