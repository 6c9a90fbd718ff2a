"""What each model costs here: plausible prices in every shape that the upstream's price list has.

The shapes (`fixed`, `variants`, `variable`; always `price` with `per`) are documented; only veo2's figures are meant
to be believed.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from app.catalogue.catalogue import Model

CREDITS_PER_MICRO_USD = 2
_DEFAULT_SECONDS = 5.0
_VEO2_MICRO_USD = 500_000
_BY_RESOLUTION = {
    "360p": 0.5, "480p": 0.6, "540p": 0.7, "580p": 0.8, "720p": 1.0, "768p": 1.0, "hd": 1.0,
    "1080p": 1.6, "fhd": 1.6, "1440p": 2.4, "2k": 2.4, "2160p": 4.0, "4k": 4.0,
}  # fmt: skip
_BY_TIER = {"master": 2.0, "pro": 1.5, "fast": 0.5, "turbo": 0.6, "lite": 0.4, "mini": 0.4, "flash": 0.5, "draft": 0.3}


def usd(credits_used: int) -> float:
    """Turn credits into US dollars: 2,000,000 are one."""
    return credits_used / (CREDITS_PER_MICRO_USD * 1_000_000)


def seconds_of(model: Model, inputs: dict[str, Any]) -> float:
    """Return how long the asked video is."""
    asked = model.effective(inputs).get("duration")
    try:
        return float(asked) if asked is not None else _DEFAULT_SECONDS
    except (TypeError, ValueError):
        return _DEFAULT_SECONDS


@dataclass(frozen=True)
class Price:
    """The price of one model: in the list's own shape, and as the charge for one generation."""

    model: Model

    @cached_property
    def _micro_usd(self) -> int:
        """Micro-dollars per second at 720p, rounded to cents."""
        if self.model.id in ("veo2", "veo2/image-to-video"):
            return _VEO2_MICRO_USD
        tier = 1.0
        for word, factor in _BY_TIER.items():
            tier *= factor if word in self.model.id else 1.0
        return max(10_000, round(15 * tier) * 10_000)

    @cached_property
    def _resolutions(self) -> list[str]:
        return [str(option) for option in self.model.properties.get("resolution", {}).get("enum", [])]

    @property
    def kind(self) -> str:
        if "audio_url" in self.model.required:
            return "variable"  # as long as the given sound: nobody can quote that ahead
        return "variants" if len(self._resolutions) > 1 and self._unit == "second" else "fixed"

    @property
    def _unit(self) -> str:
        return "second" if "duration" in self.model.properties else "video"

    def _rate(self, resolution: str | None) -> int:
        """Return micro-dollars for one unit."""
        factor = _BY_RESOLUTION.get((resolution or "").lower(), 1.0) if self.kind == "variants" else 1.0
        per_unit = self._micro_usd * (1 if self._unit == "second" else 3)
        return round(per_unit * factor / 10_000) * 10_000

    def charge_credits(self, inputs: dict[str, Any]) -> int:
        """Return what one generation with these inputs costs, in credits."""
        resolution = self.model.effective(inputs).get("resolution") or next(iter(self._resolutions), None)
        units = seconds_of(self.model, inputs) if self._unit == "second" else 1
        return round(self._rate(resolution) * units * CREDITS_PER_MICRO_USD)

    def as_listed(self) -> dict[str, Any]:
        """Return the `pricing` block of the model list."""
        match self.kind:
            case "variable":
                return {"kind": "variable"}
            case "variants":
                variants = [
                    {"when": {"resolution": name}, "price": self._rate(name) / 1e6, "unit": self._unit, "per": 1}
                    for name in self._resolutions
                ]
                return {"kind": "variants", "currency": "USD", "dimensions": ["resolution"], "variants": variants}
            case _:
                unit = {"name": self._unit, "measure": self._unit, "price": self._rate(None) / 1e6, "per": 1}
                return {"kind": "fixed", "currency": "USD", "units": [unit]}
