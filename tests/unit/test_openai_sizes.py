"""`size` and `seconds` in a model's own parameters and back."""

from typing import Any

import pytest

from app.api import openai_sizes
from app.catalogue import catalogue
from app.domain.errors import InvalidRequest

CATALOGUE = catalogue.load()

MADE = [
    ("veo2/image-to-video", "1280x720", {"aspect_ratio": "16:9"}),
    ("veo2/image-to-video", "720x1280", {"aspect_ratio": "9:16"}),
    ("google/veo-3.1-t2v", "1920x1080", {"aspect_ratio": "16:9", "resolution": "1080p"}),
    ("runway/gen4_aleph", "1104x832", {"frame_size": "1104:832"}),
    ("veed/fabric-1.0", "480x600", {"resolution": "480p"}),
]


@pytest.mark.parametrize(("model", "size", "chosen"), MADE)
def test_with_size__chooses_what_makes_it(model: str, size: str, chosen: dict[str, Any]) -> None:
    known = CATALOGUE.get(model)
    assert openai_sizes.with_size(known, {"prompt": "a fox"}, size) == {"prompt": "a fox"} | chosen


@pytest.mark.parametrize(
    ("model", "size", "said"),
    [
        ("veo2/image-to-video", "1792x1024", "It makes: 1280x720, 720x1280."),
        ("veo2/image-to-video", "1920x1080", "It makes: 1280x720, 720x1280."),
        ("runway/gen4_aleph", "1280x721", "1280x720"),
        ("veed/fabric-1.0", "600x600", "may have 480, 720 pixels"),
        ("video-01", "1280x720", "leave 'size' out"),
        ("veo2", "16:9", "WIDTHxHEIGHT"),
        ("veo2", "0x720", "WIDTHxHEIGHT"),
        ("veo2", "large", "WIDTHxHEIGHT"),
    ],
)
def test_with_size__refuses_what_the_model_cannot_do(model: str, size: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        openai_sizes.with_size(CATALOGUE.get(model), {}, size)
    assert said in refused.value.message
    assert refused.value.param == "size"


def test_with_size__contradicts_no_parameter() -> None:
    veo = CATALOGUE.get("veo2")
    assert openai_sizes.with_size(veo, {"aspect_ratio": "16:9"}, "1280x720") == {"aspect_ratio": "16:9"}
    with pytest.raises(InvalidRequest, match="'size' and 'aspect_ratio' contradict each other"):
        openai_sizes.with_size(veo, {"aspect_ratio": "9:16"}, "1280x720")


def test_with_size__of_every_model_is_an_input_it_takes() -> None:
    made = 0
    for model in CATALOGUE.models.values():
        try:
            chosen = openai_sizes.with_size(model, {}, "1280x720")
        except InvalidRequest as error:
            assert error.param == "size"  # most models take it, some decide themselves
            continue
        made += 1
        assert chosen
        for name, value in chosen.items():
            assert value in model.properties[name]["enum"]
    assert made > 70


@pytest.mark.parametrize(("model", "given", "size"), [(model, chosen, size) for model, size, chosen in MADE[:-1]])
def test_size_of__says_it_back(model: str, given: dict[str, Any], size: str) -> None:
    assert openai_sizes.size_of(CATALOGUE.get(model), given) == size


def test_size_of__is_nothing_where_the_input_does_not_say() -> None:
    assert openai_sizes.size_of(CATALOGUE.get("veo2"), {}) is None
    assert openai_sizes.size_of(CATALOGUE.get("video-01"), {}) is None


def test_with_seconds__becomes_the_duration() -> None:
    veo = CATALOGUE.get("veo2")
    assert openai_sizes.with_seconds(veo, {}, "8") == {"duration": 8}
    assert openai_sizes.seconds_of(veo, {"duration": 8}) == "8"
    assert openai_sizes.seconds_of(veo, {}) == "5"
    with pytest.raises(InvalidRequest, match="'seconds' and 'duration' contradict each other"):
        openai_sizes.with_seconds(veo, {"duration": 5}, "8")


def test_with_seconds__refuses_what_the_model_cannot_do() -> None:
    with pytest.raises(InvalidRequest, match=r"no videos of 4 seconds. It makes: 5, 6, 7, 8\."):
        openai_sizes.with_seconds(CATALOGUE.get("veo2"), {}, "4")
    with pytest.raises(InvalidRequest, match="leave 'seconds' out"):
        openai_sizes.with_seconds(CATALOGUE.get("video-01"), {}, "4")
    assert openai_sizes.seconds_of(CATALOGUE.get("video-01"), {}) is None
