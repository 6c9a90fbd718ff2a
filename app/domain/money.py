"""What things cost: integer micro-dollars, the upstream's price rules as data, and the estimate of one video.

Exact arithmetic throughout; whatever does not come out even is rounded up, so that a reservation never falls short.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Literal, Self

MICROS_PER_USD = 1_000_000
CREDITS_PER_USD = 2_000_000

_LONGEST_NUMBER = 40
_MAX_MAGNITUDE = 11  # powers of ten: anything beyond is no price, and would cost us memory to compute with
_MOST_MICROS = 10**15  # a billion dollars: no price of a video, and still far from what a database integer holds
_PER_SECOND = frozenset({"second", "seconds", "sec", "secs", "s"})
_PER_MINUTE = frozenset({"minute", "minutes", "min"})
_PER_VIDEO = frozenset({"video", "videos", "generation", "generations", "request", "requests"})

Basis = Literal["price_list", "unknown"]


def micros_to_credits(micros: int) -> int:
    """Return micro-dollars as upstream credits."""
    return micros * CREDITS_PER_USD // MICROS_PER_USD


def credits_to_micros(amount: int) -> int:
    """Return upstream credits as micro-dollars, rounded up."""
    if amount < 0:
        raise ValueError("credits cannot be negative")
    return _micros(Fraction(amount, CREDITS_PER_USD))


def usd_to_micros(usd: Decimal | str | float) -> int:
    """Return dollars as micro-dollars, rounded up; raise ValueError for what is no plain finite number."""
    return _micros(Fraction(_number(usd)))


def micros_to_usd(micros: int) -> float:
    """Return micro-dollars as dollars for JSON, exact to six decimals."""
    return round(micros / MICROS_PER_USD, 6)


def month_of(moment: datetime) -> str:
    """Return the month, in UTC, whose budget a moment belongs to: `2026-11`."""
    return moment.astimezone(UTC).strftime("%Y-%m")


@dataclass(frozen=True, slots=True)
class Price:
    """`amount` dollars for `per` units (`second`, `video`, ...)."""

    amount: Decimal
    unit: str
    per: Decimal = Decimal(1)

    def to_json(self) -> dict[str, Any]:
        return {"price": str(self.amount), "unit": self.unit, "per": str(self.per)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Read one price; the upstream names its unit `measure` in fixed prices and `unit` in variants."""
        unit = data.get("measure") or data.get("unit") or data.get("name")
        amount, per = _number(data.get("price")), _number(1 if data.get("per") is None else data["per"])
        if not isinstance(unit, str) or amount < 0 or per <= 0:
            raise ValueError("a price needs a unit, an amount and a positive 'per'")
        return cls(amount=amount, unit=unit.strip().lower(), per=per)

    def micros(self, effective_input: dict[str, Any]) -> int | None:
        """Return what one video of this input costs, or None if that cannot be known ahead."""
        quantity = self._quantity(effective_input)
        if quantity is None:
            return None
        cost = _micros(Fraction(self.amount) * Fraction(quantity) / Fraction(self.per))
        return cost if cost <= _MOST_MICROS else None

    def _quantity(self, effective_input: dict[str, Any]) -> Decimal | Fraction | None:
        if self.unit in _PER_VIDEO:
            return Decimal(1)
        seconds = seconds_asked(effective_input) if self.unit in _PER_SECOND | _PER_MINUTE else None
        return seconds if seconds is None or self.unit in _PER_SECOND else Fraction(seconds) / 60


@dataclass(frozen=True, slots=True)
class FixedPrice:
    """The same for every input: the sum of its units."""

    units: tuple[Price, ...]

    def to_json(self) -> dict[str, Any]:
        return {"kind": "fixed", "units": [unit.to_json() for unit in self.units]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        units = tuple(Price.from_json(unit) for unit in _rows(data.get("units")))
        return cls(units=units)


@dataclass(frozen=True, slots=True)
class Variant:
    """A price that holds `when` the input says so: pairs of parameter and value."""

    when: tuple[tuple[str, str | bool | int | float], ...]
    price: Price

    def to_json(self) -> dict[str, Any]:
        return {"when": dict(self.when), **self.price.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        when = data.get("when") or {}
        if not isinstance(when, dict) or not all(
            isinstance(value, str | bool | int | float) for value in when.values()
        ):
            raise ValueError("'when' must map parameters to plain values")
        return cls(when=tuple(when.items()), price=Price.from_json(data))

    def matches(self, effective_input: dict[str, Any]) -> bool:
        return all(name in effective_input and _same(effective_input[name], value) for name, value in self.when)

    def contradicted_by(self, effective_input: dict[str, Any]) -> bool:
        return any(name in effective_input and not _same(effective_input[name], value) for name, value in self.when)


@dataclass(frozen=True, slots=True)
class VariantPrice:
    """Priced by parameters of the input, such as the resolution."""

    variants: tuple[Variant, ...]

    def to_json(self) -> dict[str, Any]:
        return {"kind": "variants", "variants": [variant.to_json() for variant in self.variants]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        variants = tuple(Variant.from_json(variant) for variant in _rows(data.get("variants")))
        return cls(variants=variants)


@dataclass(frozen=True, slots=True)
class VariablePrice:
    """The upstream cannot quote it ahead."""

    def to_json(self) -> dict[str, Any]:
        return {"kind": "variable"}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        return cls()


PriceRule = FixedPrice | VariantPrice | VariablePrice
_KINDS: dict[str, type[PriceRule]] = {"fixed": FixedPrice, "variants": VariantPrice, "variable": VariablePrice}


def rule_from_json(data: object) -> PriceRule:
    """Read a price rule, as the upstream lists it or as `to_json` wrote it; raise ValueError if it cannot be read."""
    kind = _KINDS.get(str(data.get("kind"))) if isinstance(data, dict) else None
    if not isinstance(data, dict) or kind is None:
        raise ValueError("not a price rule")
    if str(data.get("currency") or "USD").upper() != "USD":
        raise ValueError("prices are expected in USD")
    return kind.from_json(data)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one video is expected to cost. `assumption` says in words what had to be assumed, if anything."""

    micros: int | None
    basis: Basis
    assumption: str | None = field(default=None, compare=False)


UNKNOWN = Estimate(micros=None, basis="unknown")


def quote(rule: object, effective_input: dict[str, Any]) -> Estimate:
    """Return the estimate by a rule as it was stored; unknown where there is none that can be read."""
    try:
        return estimate(rule_from_json(rule), effective_input)
    except ValueError:
        return UNKNOWN


def estimate(rule: PriceRule, effective_input: dict[str, Any]) -> Estimate:
    """Return the expected cost of one video; unknown where a unit or the duration is.

    `effective_input` is the input completed with the model's defaults. Where no variant matches it, the dearest of
    those that it does not contradict is assumed, the safe side for a reservation, and `assumption` says so.
    """
    match rule:
        case VariablePrice():
            return UNKNOWN
        case FixedPrice(units=units):
            costs = [unit.micros(effective_input) for unit in units]
            known = [cost for cost in costs if cost is not None]
            return Estimate(sum(known), "price_list") if len(known) == len(costs) else UNKNOWN
        case VariantPrice(variants=variants):
            return _estimate_variant(variants, effective_input)


def _estimate_variant(variants: tuple[Variant, ...], effective_input: dict[str, Any]) -> Estimate:
    if matching := [variant for variant in variants if variant.matches(effective_input)]:
        # A variant without conditions is the fallback of the others, so the most conditions win.
        most = max(len(variant.when) for variant in matching)
        return _dearest([variant for variant in matching if len(variant.when) == most], effective_input)
    possible = [variant for variant in variants if not variant.contradicted_by(effective_input)]
    found = _dearest(possible or list(variants), effective_input)
    if found.micros is None:
        return found
    return Estimate(
        found.micros, found.basis, "No listed price matches the input: the dearest possible one is assumed."
    )


def _dearest(variants: list[Variant], effective_input: dict[str, Any]) -> Estimate:
    """Return the highest cost. One unknown cost makes it unknown: it may be the highest."""
    costs = [variant.price.micros(effective_input) for variant in variants]
    known = [cost for cost in costs if cost is not None]
    return Estimate(max(known), "price_list") if len(known) == len(costs) else UNKNOWN


def _micros(usd: Fraction) -> int:
    return math.ceil(usd * MICROS_PER_USD)


def _number(value: object) -> Decimal:
    """Read a finite decimal of sane size; floats by their shortest text, so 0.1 is a tenth."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError("not a number")
    text = str(value).strip()
    try:
        number = Decimal(text[: _LONGEST_NUMBER + 1])
    except InvalidOperation:
        raise ValueError("not a number") from None
    absurd = len(text) > _LONGEST_NUMBER or not number.is_finite() or abs(number.adjusted()) > _MAX_MAGNITUDE
    if absurd and number != 0:
        raise ValueError("not a number of sane size")
    return number


def seconds_asked(effective_input: Mapping[str, Any]) -> Decimal | None:
    """Return the seconds of video asked for; a negative one means that the model decides."""
    try:
        seconds = _number(effective_input.get("duration"))
    except ValueError:
        return None
    return seconds if seconds > 0 else None


def _same(given: object, listed: object) -> bool:
    return _comparable(given) == _comparable(listed)


def _comparable(value: object) -> object:
    """Fold the ways one value is written: "720P" and "720p", 5 and "5" and 5.0, True and "true"."""
    if isinstance(value, bool):
        return str(value).lower()
    try:
        return _number(value)
    except ValueError:
        return str(value).strip().lower()


def _rows(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not value or not all(isinstance(row, dict) for row in value):
        raise ValueError("a price rule needs a list of prices")
    return value
