"""Look models up, check and coerce input."""

import re
from pathlib import Path
from typing import Any

import pytest

from app.catalogue import facts
from app.catalogue.catalogue import DEFAULT_MODEL, Catalogue, Model, load
from app.catalogue.media import replaced
from app.domain.errors import InvalidRequest, UnknownModel

ROOT = Path(__file__).parents[2]
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


@pytest.mark.parametrize(
    ("model", "given", "kept"),
    [
        ("klingai/video-v3-turbo-pro-text-to-video", {"multi_prompt": None}, {"multi_prompt": None}),
        (
            "klingai/video-v3-turbo-pro-text-to-video",
            {"multi_prompt": [{"prompt": "A boat.", "duration": "3"}]},
            {"multi_prompt": [{"prompt": "A boat.", "duration": 3}]},
        ),
        (
            "kling-video/v1/standard/text-to-video",
            {"advanced_camera_control": {"movement_type": "zoom", "movement_value": "-2"}},
            {"advanced_camera_control": {"movement_type": "zoom", "movement_value": -2}},
        ),
    ],
)
def test_check__coerces_text_within_lists_and_objects(
    models: Catalogue, model: str, given: dict[str, Any], kept: dict[str, Any]
) -> None:
    assert models.get(model).check({"prompt": "A boat."} | given) == {"prompt": "A boat."} | kept


KEYFRAMES = "luma/ray-2"
LINK = "https://example.com/a.jpg"


@pytest.mark.parametrize(
    ("model", "given", "param", "says"),
    [
        (KEYFRAMES, {"keyframes": {"frame0": {"type": "image", "ur": LINK}}}, "keyframes.frame0.ur", "'url'"),
        (KEYFRAMES, {"keyframes": {"frame0": {"type": "imag", "url": LINK}}}, "keyframes.frame0.type", "one of image"),
        (KEYFRAMES, {"keyframes": {"frame0": {"type": "generation", "url": LINK}}}, "keyframes.frame0.url", "type, id"),
        (KEYFRAMES, {"keyframes": {"frame0": LINK}}, "keyframes.frame0", "an object or null"),
        (KEYFRAMES, {"keyframes": {"frame0": {"type": "image"}}}, "keyframes.frame0.url", "needs 'url'"),
        ("minimax/hailuo-2.3", {"duration": 9}, "duration", "6, 10. Did you mean 10?"),
        ("alibaba/wan2.2-t2v-plus", {"resolution": "1080p"}, "resolution", "480P, 1080P. Did you mean 1080P?"),
    ],
)
def test_check__names_what_lies_deep_and_suggests_the_closest(
    models: Catalogue, model: str, given: dict[str, Any], param: str, says: str
) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(says)) as caught:
        models.get(model).check({"prompt": "A boat."} | given)
    assert caught.value.param == f"input.{param}"


def test_media_in__finds_every_place_and_its_kind(models: Catalogue) -> None:
    def places(model: str, given: dict[str, Any]) -> list[tuple[str, str | None]]:
        return [(".".join(map(str, place.path)), place.kind) for place in models.get(model).media_in(given)]

    element = {"reference_image_urls": [LINK, LINK], "video_url": LINK}
    assert places("klingai/video-v3-pro-image-to-video", {"image_url": LINK, "elements": [element]}) == [
        ("image_url", "image"),
        ("elements.0.reference_image_urls.0", "image"),
        ("elements.0.reference_image_urls.1", "image"),
        ("elements.0.video_url", "video"),
    ]
    act = {"character": {"type": "image", "url": LINK}, "reference": {"type": "video", "url": LINK}}
    assert places("runway/act_two", act) == [("character.url", "image"), ("reference.url", "video")]
    assert places("luma/ray-2", {"keyframes": {"frame1": {"type": "image", "url": LINK}}}) == [
        ("keyframes.frame1.url", "image")
    ]
    assert places("klingai/avatar-pro", {"audio_url": LINK, "prompt": LINK}) == [("audio_url", "audio")]
    both = "klingai/kling-video-v1.6-pro-effects"
    assert places(both, {"image_url": LINK}) == [("image_url", "image")]
    assert places(both, {"image_url": [LINK, LINK]}) == [("image_url.0", "image"), ("image_url.1", "image")]
    inpainting = "alibaba/wan2.2-vace-fun-a14b-inpainting"
    assert places(inpainting, {"mask_video_url": LINK}) == [("mask_video_url", "video")]


def test_media_in__of_a_model_without_a_schema_is_what_is_no_link() -> None:
    model = Model.unknown("new/model", developer="Nobody")
    data = "data:video/mp4;base64,AAAA"
    given = {"prompt": "data: none", "film": data, "audios": ["file_0a", LINK], "deep": {"first_image": "file_0b"}}
    assert [(place.path, place.kind) for place in model.media_in(given)] == [
        (("film",), None),
        (("audios", 0), "audio"),
        (("deep", "first_image"), "image"),
    ]
    assert model.check(given) == given


def test_replaced__leaves_the_original_as_it_was() -> None:
    given = {"a": [{"b": "x"}, 1]}
    assert replaced(given, ("a", 0, "b"), "y") == {"a": [{"b": "y"}, 1]}
    assert given == {"a": [{"b": "x"}, 1]}


@pytest.mark.parametrize("page", ["README.md", "docs/api.md"])
def test_catalogue__holds_as_many_models_as_the_pages_say(models: Catalogue, page: str) -> None:
    assert f" {len(models.models)} models" in (ROOT / page).read_text("utf-8")


def test_catalogue__file_is_as_written(tmp_path: Path) -> None:
    facts.write(facts.read(), tmp_path / "models.json")
    assert (tmp_path / "models.json").read_text("utf-8") == facts.FILE.read_text("utf-8")


def test_paths__are_those_of_all_models(models: Catalogue) -> None:
    assert {model.path for model in models.models.values()} <= set(facts.PATHS)


def test_every_model__has_a_usable_schema(models: Catalogue) -> None:
    for model in models.models.values():
        with pytest.raises(InvalidRequest):
            model.check({"no_such_parameter": 1})
        assert model.path.startswith("/v2/")
