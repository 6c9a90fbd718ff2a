"""From a submission to the film it asks for: which stills, which frame size, how long.

A frame has the area of its resolution in 16:9 (720p: 921,600 pixels, so 1:1 is 960x960), sides are even, and nothing
is encoded longer than 1280 pixels: `1080p` and above are accepted, priced, and delivered at 720p.
"""

import math
import re
from pathlib import Path
from typing import Any

from app.catalogue import abilities
from app.catalogue.catalogue import Model
from app.sandbox.faults import without_marks
from app.sandbox.film import Order
from app.sandbox.prices import seconds_of
from app.sandbox.stills import size_of

_LONGEST_SIDE = 1280
_LINES = range(240, 721)
_LONGEST_SECONDS = 30.0
_COMMON_RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4")
_TAIL = re.compile("tail|last|frame1")


def order_for(model: Model, inputs: dict[str, Any], stills: Path) -> Order:
    """Return the film for a submission's stored input; the same input is always the same film."""
    given = model.effective(inputs)
    first, last = _stills(model, inputs)
    prompt = without_marks(str(given.get("prompt") or ""))
    width, height = frame_size(
        str(given.get("aspect_ratio") or given.get("ratio") or given.get("frame_size") or ""),
        resolution=str(given.get("resolution") or given.get("max_resolution") or ""),
        allowed=[str(option) for option in model.properties.get("aspect_ratio", {}).get("enum", [])],
        image=size_of(first, stills) if first else None,
    )
    seconds = min(max(seconds_of(model, inputs), 1.0), _LONGEST_SECONDS)
    return Order(first or prompt or model.id, last, prompt, width, height, seconds)


def frame_size(asked: str, *, resolution: str, allowed: list[str], image: tuple[int, int] | None) -> tuple[int, int]:
    """Return width and height: of the asked ratio, else of the allowed ratio closest to the image's, else 16:9."""
    ratio = _ratio(asked) or _ratio(resolution)
    if ratio is None and image is not None:
        choices = [found for found in map(_ratio, allowed or _COMMON_RATIOS) if found]
        ratio = min(choices, key=lambda choice: round(abs(math.log(choice * image[1] / image[0])), 6), default=None)
    ratio = ratio or 16 / 9
    area = _lines(resolution) ** 2 * 16 / 9
    width, height = math.sqrt(area * ratio), math.sqrt(area / ratio)
    shrink = min(1.0, _LONGEST_SIDE / max(width, height))
    return _even(width * shrink), _even(height * shrink)


def _stills(model: Model, inputs: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return the first and the last frame among the images given."""
    found = [(place.path, place.value) for place in model.media_in(inputs) if place.kind == "image"]
    images = {".".join(map(str, path)): value for path, value in found}
    first = next((value for name, value in images.items() if not _TAIL.search(name)), None)
    last = next((value for name, value in images.items() if _TAIL.search(name)), None)
    return (first, last) if first else (last, None)


def _ratio(text: str) -> float | None:
    sides = abilities.shape(text)
    return sides[0] / sides[1] if sides else None


def _lines(resolution: str) -> int:
    lines = abilities.lines(resolution) or 720
    return min(max(lines, _LINES.start), _LINES.stop - 1)


def _even(length: float) -> int:
    return 2 * round(length / 2)
