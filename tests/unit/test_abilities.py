"""Which parameter carries duration, shape and size, and what a model allows there."""

from typing import Any

import pytest

from app.catalogue.abilities import aspect_ratio_of, duration_of, frame_size_of, resolution_of
from app.catalogue.catalogue import load

MODELS = load()


@pytest.mark.parametrize(
    ("model", "wanted", "fit"),
    [
        ("veo2", "8", 8),
        ("veo2", 8, 8),
        ("veo2", "9", None),
        ("x-ai/grok-imagine-video", "15", 15),
        ("x-ai/grok-imagine-video", 16, None),
        ("x-ai/grok-imagine-video", 0, None),
        ("x-ai/grok-imagine-video", "soon", None),
        ("runway-gen3/turbo/image-to-video", 5, "5"),
    ],
)
def test_duration_of__fits_what_the_model_allows(model: str, wanted: Any, fit: Any) -> None:
    ability = duration_of(MODELS.get(model))
    assert ability is not None
    found = ability.fit(wanted)
    assert (found, type(found)) == (fit, type(fit))


def test_abilities__name_the_parameter_and_what_it_allows() -> None:
    shape = aspect_ratio_of(MODELS.get("veo2"))
    assert shape is not None and (shape.parameter, shape.options) == ("aspect_ratio", ("16:9", "9:16"))
    lines = resolution_of(MODELS.get("alibaba/wan2.2-t2v-plus"))
    assert lines is not None and (lines.parameter, lines.fit("1080p")) == ("resolution", "1080P")
    assert resolution_of(MODELS.get("veo2")) is None
    [framed] = {ability.parameter for model in MODELS.models.values() if (ability := frame_size_of(model))}
    assert framed == "frame_size"
    ratios = {ability.parameter for model in MODELS.models.values() if (ability := aspect_ratio_of(model))}
    assert ratios == {"aspect_ratio", "ratio"}
