"""Uploads that claim to be videos or sounds: decided by what they decode to."""

import base64

import pytest

from app.domain.errors import NotAClip
from app.media.clips import ClipKind, check, from_data_uri
from tests.clips import clip, sound, talkie
from tests.factories import picture

CAP = 5 << 20
PIXELS = 64 * 48
SOUNDS = [
    ("wav", "pcm_s16le", "audio/wav"),
    ("mp3", "libmp3lame", "audio/mpeg"),
    ("ipod", "aac", "audio/mp4"),
    ("adts", "aac", "audio/aac"),
    ("ogg", "libopus", "audio/ogg"),
    ("flac", "flac", "audio/flac"),
    ("webm", "libopus", "audio/webm"),
]
CLIPS = [
    ("mp4", "libx264", "video/mp4"),
    ("mov", "libx264", "video/quicktime"),
    ("webm", "libvpx", "video/webm"),
    ("matroska", "libx264", "video/x-matroska"),
]


@pytest.mark.parametrize(("container", "codec", "content_type"), CLIPS)
async def test_check__takes_videos(container: str, codec: str, content_type: str) -> None:
    data = clip(container, codec)
    found = await check(data, kind="video", max_bytes=CAP, max_pixels=PIXELS)
    assert (found.content_type, found.width, found.height, found.data) == (content_type, 64, 48, data)
    with pytest.raises(NotAClip, match="holds no sound"):
        await check(data, kind="audio", max_bytes=CAP, max_pixels=PIXELS)


@pytest.mark.parametrize(("container", "codec", "content_type"), SOUNDS)
async def test_check__takes_sounds(container: str, codec: str, content_type: str) -> None:
    data = sound(container, codec)
    found = await check(data, kind="audio", max_bytes=CAP, max_pixels=PIXELS)
    assert (found.content_type, found.width, found.height, found.data) == (content_type, None, None, data)
    with pytest.raises(NotAClip, match="no video"):
        await check(data, kind="video", max_bytes=CAP, max_pixels=PIXELS)


@pytest.mark.parametrize(
    ("data", "kind", "says"),
    [
        (b"", "video", "no video that Reelay knows"),
        (picture(), "video", "send an MP4"),
        (picture(), "audio", "send an MP3"),
        (clip()[:-200], "video", "cut off"),
        (clip()[:8] + b"isom" + b"\0" * 500, "video", "cut off|not an MP4|damaged"),
        (b"\x1aE\xdf\xa3" + b"webm" * 100, "video", "damaged"),
        (b"ID3" + b"\0" * 4000, "audio", "damaged|empty"),
        (b"RIFF\0\0\0\0WAVE" + b"x" * 200, "audio", "damaged|no sound"),
        (b"<html><video></video></html>", "video", "no video that Reelay knows"),
    ],
)
async def test_check__refuses_what_only_claims_to_be_one(data: bytes, kind: ClipKind, says: str) -> None:
    with pytest.raises(NotAClip, match=says):
        await check(data, kind=kind, max_bytes=CAP, max_pixels=PIXELS)


async def test_check__a_video_with_sound_is_no_sound() -> None:
    assert (await check(talkie(), kind="video", max_bytes=CAP, max_pixels=PIXELS)).content_type == "video/mp4"
    with pytest.raises(NotAClip, match="Send the sound alone"):
        await check(talkie(), kind="audio", max_bytes=CAP, max_pixels=PIXELS)


async def test_check__keeps_to_its_caps() -> None:
    with pytest.raises(NotAClip, match="larger than 100 bytes"):
        await check(clip(), kind="video", max_bytes=100, max_pixels=PIXELS)
    with pytest.raises(NotAClip, match="more than 3071 pixels"):
        await check(clip(), kind="video", max_bytes=CAP, max_pixels=PIXELS - 1)


@pytest.mark.parametrize(
    ("head", "kind", "taken"),
    [
        ("data:video/mp4;base64", "video", True),
        ("data:audio/webm;codecs=opus;base64", "audio", True),
        ("data:video/webm;base64", "audio", True),
        ("data:audio/mpeg;base64", "video", False),
        ("data:image/png;base64", "audio", False),
        ("data:video/mp4", "video", False),
    ],
)
def test_from_data_uri__reads_those_of_the_kind(head: str, kind: ClipKind, taken: bool) -> None:
    text = f"{head},{base64.b64encode(b'bytes').decode()}"
    if taken:
        assert from_data_uri(text, kind=kind, max_bytes=CAP) == b"bytes"
        return
    with pytest.raises(NotAClip, match="must look like data:"):
        from_data_uri(text, kind=kind, max_bytes=CAP)
