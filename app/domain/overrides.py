"""An operator's own prices: a file of price rules by model, which go before the upstream's list."""

import json
from typing import Any

from app.domain.money import rule_from_json

_LONGEST_NAME = 200


def read_overrides(text: str) -> dict[str, Any]:
    """Return the rules by model; raise ValueError with what is wrong, and at which model.

    The file maps a model's id to a rule in the shape of the upstream's list and of `GET /v1/models`:
    `{"veo2/image-to-video": {"kind": "fixed", "units": [{"measure": "second", "price": 0.4}]}}`.
    """
    try:
        given = json.loads(text)
    except ValueError as error:
        raise ValueError(f"it is no JSON ({error})") from None
    if not isinstance(given, dict):
        raise ValueError("it must be an object that maps models to prices")
    return {name: _rule(name, rule) for name, rule in given.items()}


def _rule(name: str, rule: object) -> dict[str, Any]:
    if not name or len(name) > _LONGEST_NAME:
        raise ValueError(f"{name[:40]!r} is no name of a model")
    try:
        return rule_from_json(rule).to_json()
    except ValueError as error:
        raise ValueError(f"the price of {name!r} cannot be read: {error}") from None
