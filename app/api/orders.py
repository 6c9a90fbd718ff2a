"""From a body, JSON or form, to an order: the checked request, its model and input, and the files that came along."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.api import forms
from app.api.multipart import Form
from app.api.offering import Offer
from app.api.schemas import JobRequest, checked
from app.catalogue.catalogue import Model
from app.domain.errors import InvalidRequest

LARGEST_INPUT = 256 << 10


@dataclass(frozen=True, slots=True)
class Order:
    """A request that is right as far as the catalogue knows. `input` may hold data URIs and attached files."""

    request: JobRequest
    model: Model
    input: dict[str, Any]
    attached: Mapping[str, bytes] = field(default_factory=dict)


def order_of(body: dict[str, Any] | Form, offer: Offer) -> Order:
    """Check the body of a request for a job; raise InvalidRequest for the first fault."""
    attached: Mapping[str, bytes] = {}
    if isinstance(body, Form):
        given, attached = forms.request_of(body, offer=offer)
    else:
        given = body
    order = checked(given, schema=JobRequest, strict=not isinstance(body, Form))
    model = offer.get(order.model)
    return Order(order, model, model.check(order.input), attached)


def require_storable_size(given: dict[str, Any]) -> None:
    """Raise InvalidRequest for an input that is too large once its files are stored apart."""
    if len(json.dumps(given, ensure_ascii=False)) > LARGEST_INPUT:
        raise InvalidRequest(
            f"The input is longer than {LARGEST_INPUT} characters without its files.",
            code="input_too_large",
            param="input",
        )
