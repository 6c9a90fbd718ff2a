"""Look models up, check and coerce input."""

from typing import Any

import pytest

from app.catalogue.catalogue import DEFAULT_MODEL, Catalogue, load
from app.domain.errors import InvalidRequest, UnknownModel

GOOD = {"prompt": "Mona Lisa puts on glasses.", "image_url": "https://example.com/a.jpg"}


@pytest.fixture(scope="module")
def models() -> Catalogue:
    return load()


def test_get__the_default_and_two_of_each_kind(models: Catalogue) -> None:
    takes_image = [model.id for model in models.models.values() if model.media_parameters]
    assert DEFAULT_MODEL in takes_image
    assert {"veo2", "google/veo-3.1-t2v"} <= set(models.models) - set(takes_image)
    assert len(takes_image) >= 3


def test_get__unknown_model_suggests_the_closest(models: Catalogue) -> None:
    with pytest.raises(UnknownModel, match=r"Did you mean 'veo2/image-to-video'") as caught:
        models.get("veo2/image-to-vidoe")
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"duration": "5"}, {"duration": 5}),
        ({"duration": 8}, {"duration": 8}),
        ({"enhance_prompt": "False"}, {"enhance_prompt": False}),
        ({"seed": "-7"}, {"seed": -7}),
    ],
)
def test_check__coerces_text(models: Catalogue, given: dict[str, Any], kept: dict[str, Any]) -> None:
    assert models.get(DEFAULT_MODEL).check(GOOD | given) == GOOD | kept


@pytest.mark.parametrize(
    ("given", "param", "says"),
    [
        ({"duration": 9}, "input.duration", "5, 6, 7, 8"),
        ({"duration": "five"}, "input.duration", "5, 6, 7, 8"),
        ({"duration": 5.5}, "input.duration", "5, 6, 7, 8"),
        ({"duration": True}, "input.duration", "5, 6, 7, 8"),
        ({"aspect_ratio": "16:8"}, "input.aspect_ratio", "Did you mean 16:9"),
        ({"prompt": 3}, "input.prompt", "string"),
        ({"prompt": "  "}, "input.prompt", "empty"),
        ({"seed": "NaN"}, "input.seed", "integer"),
        ({"seed": 1.5}, "input.seed", "integer"),
        ({"enhance_prompt": "perhaps"}, "input.enhance_prompt", "boolean"),
        ({"promt": "x"}, "input.promt", "Did you mean 'prompt'"),
        ({"image_url": None}, "input.image_url", "string"),
    ],
)
def test_check__names_the_field_and_what_it_may_be(
    models: Catalogue, given: dict[str, Any], param: str, says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says) as caught:
        models.get(DEFAULT_MODEL).check(GOOD | given)
    assert caught.value.param == param


@pytest.mark.parametrize("missing", ["prompt", "image_url"])
def test_check__names_what_is_missing(models: Catalogue, missing: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        models.get(DEFAULT_MODEL).check({name: value for name, value in GOOD.items() if name != missing})
    assert caught.value.param == f"input.{missing}"


def test_effective__completes_with_the_defaults(models: Catalogue) -> None:
    assert models.get(DEFAULT_MODEL).effective({"prompt": "x"})["duration"] == 5
    assert models.get(DEFAULT_MODEL).effective({"duration": 8})["duration"] == 8


def test_every_model__has_a_usable_schema(models: Catalogue) -> None:
    for model in models.models.values():
        with pytest.raises(InvalidRequest):
            model.check({"no_such_parameter": 1})
        assert model.path.startswith("/v2/")
