"""What a model lets a caller choose about its video: how long, which shape, how large."""

import re
from dataclasses import dataclass
from typing import Any

from app.catalogue.catalogue import Model
from app.catalogue.coercing import coerced

_DURATION = ("duration",)
_ASPECT_RATIO = ("aspect_ratio", "ratio")
_RESOLUTION = ("resolution", "max_resolution")
_FRAME_SIZE = ("frame_size",)
_LINES_BY_NAME = {"hd": 720, "fhd": 1080, "2k": 1440, "4k": 2160}


@dataclass(frozen=True, slots=True)
class Ability:
    """One choice: the parameter that carries it and what that allows.

    `options` are the values as the model spells them, None where a range or any value is taken.
    """

    parameter: str
    type: str
    options: tuple[Any, ...] | None
    minimum: float | None
    maximum: float | None
    default: Any

    def fit(self, wanted: Any) -> Any:
        """Return the value to send for what is wanted, as the model spells it; None if the model cannot do that.

        A number may come as text or the other way round, and case does not matter: "8" is 8, "1080P" is "1080p".
        """
        if self.options is not None:
            return next((option for option in self.options if _folded(option) == _folded(wanted)), None)
        value = str(wanted) if self.type == "string" else coerced(str(wanted), {"type": self.type})
        if isinstance(value, str):
            return value if self.type == "string" else None
        low = self.minimum is not None and value < self.minimum
        high = self.maximum is not None and value > self.maximum
        return None if low or high else value


def duration_of(model: Model) -> Ability | None:
    """Return how the seconds of video are chosen; None if the model decides."""
    return _first(model, _DURATION)


def aspect_ratio_of(model: Model) -> Ability | None:
    """Return how the shape is chosen (`16:9`); None if the model decides or takes it from an image."""
    return _first(model, _ASPECT_RATIO)


def resolution_of(model: Model) -> Ability | None:
    """Return how the number of lines is chosen (`720p`, `1080P`, `4k`, `hd`, 720); None if the model decides."""
    return _first(model, _RESOLUTION)


def frame_size_of(model: Model) -> Ability | None:
    """Return how width and height are chosen together (`1280:720`); None for the models that have them apart."""
    return _first(model, _FRAME_SIZE)


def lines(resolution: Any) -> int | None:
    """Return the pixels of the shorter side: 720 for `720p`, `720P`, `hd` or 720; None for what names none."""
    word = str(resolution).lower()
    number = word.removesuffix("p")
    return int(number) if number.isascii() and number.isdecimal() else _LINES_BY_NAME.get(word)


def shape(text: Any) -> tuple[int, int] | None:
    """Return the two numbers of `16:9`, `1280:720` or `1280x720`; None for any other text."""
    match = re.fullmatch(r"([1-9]\d{0,4})[:xX*]([1-9]\d{0,4})", str(text), re.ASCII)
    return (int(match[1]), int(match[2])) if match else None


def _first(model: Model, names: tuple[str, ...]) -> Ability | None:
    found = ((name, model.properties[name]) for name in names if name in model.properties)
    return next((_ability(name, schema) for name, schema in found if isinstance(schema.get("type"), str)), None)


def _ability(name: str, schema: dict[str, Any]) -> Ability:
    return Ability(
        parameter=name,
        type=schema["type"],
        options=tuple(schema["enum"]) if "enum" in schema else None,
        minimum=schema.get("minimum"),
        maximum=schema.get("maximum"),
        default=schema.get("default"),
    )


def _folded(value: Any) -> str:
    return str(value).strip().lower()
