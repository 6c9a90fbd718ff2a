"""reelay models: which there are, what each takes and costs."""

from typing import Annotated, Any

import typer
from rich.text import Text

from app.cli import service, terminal
from app.domain.money import FixedPrice, Price, VariantPrice, rule_from_json


def complete_model() -> list[str]:
    """Return the model ids of this build, for a shell that asks: so the network is not asked. Typer narrows them."""
    from app.catalogue import catalogue  # noqa: PLC0415  # only a shell that completes waits for the schemas

    return list(catalogue.load().models)


Name = Annotated[
    str | None, typer.Argument(metavar="ID", help="One model.", autocompletion=complete_model, show_default=False)
]


def models_command(model: Name = None, *, as_json: terminal.AsJson = False) -> None:
    """List the models, or show what one takes."""
    house = service.connect()
    found = house.read(f"/v1/models/{model}") if model else house.read("/v1/models")["data"]
    if as_json:
        terminal.show_json(found)
    elif model:
        _show_one(found)
    else:
        rows = [
            [_name(row), row["owned_by"], _price(row["pricing"]), _seconds(row["typical_seconds"])] for row in found
        ]
        terminal.show_table(["MODEL", "BY", "PRICE", "DONE IN"], rows, spare=(1, 3))


def _name(model: dict[str, Any]) -> str | Text:
    return Text(f"{model['id']} (not offered now)", "dim") if model["available"] is False else model["id"]


def _show_one(model: dict[str, Any]) -> None:
    terminal.say(Text(model["id"], "bold"))
    terminal.say(f"by {model['owned_by']}, {_price(model['pricing'])}, takes {_seconds(model['typical_seconds'])}")
    if model["available"] is False:
        terminal.say(Text("The upstream does not list it now.", "yellow"))
    schema = model["input_schema"]
    if schema is None:
        terminal.say("This build does not know what it takes: parameters are passed on unchecked.")
        return
    required = schema.get("required", [])
    rows: list[list[str | Text]] = [
        [name, Text("required", "yellow") if name in required else Text(_default(given), "dim"), _takes(given)]
        for name, given in schema["properties"].items()
    ]
    terminal.show_table(["PARAMETER", "DEFAULT", "TAKES"], rows)


def _default(given: dict[str, Any]) -> str:
    return "" if "default" not in given else str(given["default"])


def _takes(given: dict[str, Any]) -> str:
    """Return in words what a parameter may be."""
    if "enum" in given:
        return ", ".join(str(option) for option in given["enum"])
    if "items" in given:
        most = f"up to {given['maxItems']} of: " if "maxItems" in given else "list of: "
        return most + _takes(given["items"])
    if branches := given.get("anyOf") or given.get("oneOf"):
        return ", or ".join(dict.fromkeys(map(_takes, branches)))
    if "properties" in given:
        return f"JSON object of {', '.join(given['properties'])}"
    kind = "link or file" if given.get("format") == "uri" else str(given.get("type", "any"))
    if "minimum" in given or "maximum" in given:
        return f"{kind}, {given.get('minimum', '')} to {given.get('maximum', '')}"
    return f"{kind}, at most {given['maxLength']} characters" if "maxLength" in given else kind


def _price(pricing: dict[str, Any] | None) -> str:
    try:
        match rule_from_json(pricing):
            case FixedPrice(units=units):
                return " + ".join(map(_unit, units))
            case VariantPrice(variants=variants):
                prices = sorted((variant.price for variant in variants), key=lambda price: price.amount / price.per)
                return _range(prices[0], prices[-1])
    except ValueError:
        return "price not known"
    return "price varies"


def _range(cheapest: Price, dearest: Price) -> str:
    if cheapest == dearest:
        return _unit(cheapest)
    if (cheapest.unit, cheapest.per) == (dearest.unit, dearest.per):
        return f"{terminal.usd(float(cheapest.amount)).removesuffix(' USD')} to {_unit(dearest)}"
    return f"{_unit(cheapest)} to {_unit(dearest)}"


def _unit(price: Price) -> str:
    each = "" if price.per == 1 else f"{price.per:f} "
    return f"{terminal.usd(float(price.amount))} per {each}{price.unit}"


def _seconds(typical: float | None) -> str:
    return "not known yet" if typical is None else f"about {typical:.0f} s"
