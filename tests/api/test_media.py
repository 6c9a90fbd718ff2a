"""Uploads for every parameter that takes a link: images, videos and sounds, alone, in lists and deep inside."""

import base64
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.db.engine import Database
from tests.api.conftest import count, data_uri, require_error, stored
from tests.clips import clip, sound
from tests.factories import LINK, picture

TALKER = "klingai/avatar-pro"
EDITOR = "klingai/video-o1-video-to-video-edit"
ACTOR = "runway/act_two"
MANY = "bytedance/seedance-2-0"


@pytest.fixture
def database_kind() -> str:
    """What is taken is decided at the front door."""
    return "sqlite"


def uri(data: bytes, content_type: str) -> str:
    return f"data:{content_type};base64,{base64.b64encode(data).decode()}"


def form(parts: dict[str, str]) -> dict[str, tuple[None, str]]:
    """Return a form without files."""
    return {name: (None, text) for name, text in parts.items()}


async def create(client: httpx2.AsyncClient, model: str, given: dict[str, Any]) -> httpx2.Response:
    return await client.post("/v1/jobs", json={"model": model, "input": given})


async def test_create__stores_videos_and_sounds_that_come_as_parts(
    client: httpx2.AsyncClient, storage: Path, database: Database
) -> None:
    files = {"image": ("a.jpg", picture()), "audio_url": ("a.txt", sound())}
    talked = await client.post("/v1/jobs", data={"model": TALKER}, files=files)
    assert talked.status_code == 201, talked.text
    edited = await client.post("/v1/jobs", data={"model": EDITOR, "prompt": "x"}, files={"video": ("a.mp4", clip())})
    assert edited.status_code == 201, edited.text
    ids = [*talked.json()["input"].values(), edited.json()["input"]["video_url"]]
    assert all(id_.startswith("file_") for id_ in ids)
    assert sorted(Path(key).suffix for key in stored(storage)) == [".jpg", ".mp4", ".wav"]
    assert count(database, "files") == 3


async def test_create__takes_data_uris_in_lists_and_deep_inside(client: httpx2.AsyncClient) -> None:
    given = {
        "prompt": "x",
        "video_url": uri(clip(), "video/mp4"),
        "elements": [{"frontal_image_url": data_uri(picture()), "reference_image_urls": [LINK, data_uri(picture())]}],
    }
    made = await create(client, EDITOR, given)
    assert made.status_code == 201, made.text
    [element] = made.json()["input"]["elements"]
    assert element["frontal_image_url"].startswith("file_")
    assert element["reference_image_urls"][0] == LINK
    assert element["reference_image_urls"][1].startswith("file_")
    act = {"character": {"type": "image", "url": data_uri(picture())}, "reference": {"type": "video", "url": LINK}}
    acted = await create(client, ACTOR, act)
    assert acted.status_code == 201, acted.text
    assert acted.json()["input"]["character"]["url"].startswith("file_")
    again = await create(client, ACTOR, acted.json()["input"])
    assert again.json()["input"] == acted.json()["input"]


async def test_create__several_parts_of_one_name_make_a_list(client: httpx2.AsyncClient) -> None:
    files = [("image_urls", ("a.jpg", picture())), ("image_urls", ("b.png", picture("PNG")))]
    made = await client.post("/v1/jobs", data={"model": MANY, "prompt": "x", "image_urls": LINK}, files=files)
    assert made.status_code == 201, made.text
    link, *ids = made.json()["input"]["image_urls"]
    assert link == LINK
    assert [id_[:5] for id_ in ids] == ["file_", "file_"]


@pytest.mark.parametrize(
    ("model", "given", "param", "code"),
    [
        (EDITOR, {"video_url": uri(picture(), "video/mp4")}, "video_url", "invalid_video"),
        (EDITOR, {"video_url": data_uri(picture())}, "video_url", "invalid_video"),
        (EDITOR, {"video_url": uri(clip()[:300], "video/mp4")}, "video_url", "invalid_video"),
        (TALKER, {"image_url": LINK, "audio_url": uri(clip(), "audio/mp4")}, "audio_url", "invalid_audio"),
        (TALKER, {"image_url": uri(clip(), "image/jpeg"), "audio_url": LINK}, "image_url", "invalid_image"),
        (MANY, {"video_urls": [LINK, uri(sound(), "video/mp4")]}, "video_urls.1", "invalid_video"),
        (MANY, {"image_urls": [LINK, "ftp://x.example/a"]}, "image_urls.1", "invalid_input"),
        (
            ACTOR,
            {"character": {"type": "video", "url": data_uri(picture())}, "reference": {"type": "video", "url": LINK}},
            "character.url",
            "invalid_video",
        ),
    ],
)
async def test_create__refuses_media_of_another_kind(
    client: httpx2.AsyncClient, storage: Path, model: str, given: dict[str, Any], param: str, code: str
) -> None:
    prompt = {} if model in (TALKER, ACTOR) else {"prompt": "x"}
    require_error(await create(client, model, prompt | given), 400, code=code, param=f"input.{param}")
    assert stored(storage) == []


async def test_create__refuses_a_file_of_another_kind_by_its_id(client: httpx2.AsyncClient) -> None:
    made = await create(client, TALKER, {"image_url": data_uri(picture()), "audio_url": uri(sound(), "audio/wav")})
    kept = made.json()["input"]
    swapped = {"image_url": kept["audio_url"], "audio_url": kept["image_url"]}
    refused = await create(client, TALKER, swapped)
    error = require_error(refused, 400, code="wrong_media", param="input.image_url")
    assert "audio/wav" in error["message"]
    assert (await create(client, TALKER, kept)).status_code == 201


async def test_create__short_names_stand_for_links_too(client: httpx2.AsyncClient) -> None:
    made = await client.post("/v1/jobs", files=form({"model": TALKER, "image": LINK, "audio": LINK}))
    assert made.status_code == 201, made.text
    assert made.json()["input"] == {"image_url": LINK, "audio_url": LINK}
    refused = await client.post("/v1/jobs", data={"model": "veo2", "prompt": "x"}, files={"video": ("a", clip())})
    require_error(refused, 400, code="unknown_parameter", param="input.video")


async def test_create__lists_and_objects_of_a_form_are_json(client: httpx2.AsyncClient) -> None:
    model = "klingai/video-v3-turbo-pro-text-to-video"
    parts = {"model": model, "prompt": "x", "multi_prompt": '[{"prompt": "a", "duration": "3"}]'}
    made = await client.post("/v1/jobs", files=form(parts))
    assert made.status_code == 201, made.text
    assert made.json()["input"]["multi_prompt"] == [{"prompt": "a", "duration": 3}]
    broken = await client.post("/v1/jobs", files=form(parts | {"multi_prompt": '[{"prompt"'}))
    require_error(broken, 400, code="invalid_json", param="multi_prompt")
    sneaky = parts | {"multi_prompt": '[{"prompt": "\\u0000", "duration": 3}]'}
    require_error(await client.post("/v1/jobs", files=form(sneaky)), 400, code="invalid_text")
