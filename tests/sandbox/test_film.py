"""The films: real H.264, as long and as large as asked, moving, cached."""

import asyncio
import base64
import io
import itertools
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image, ImageChops, ImageStat

from app.catalogue.catalogue import load
from app.sandbox.captions import overlay
from app.sandbox.film import TINY, Order, camera, shoot
from app.sandbox.framing import frame_size, order_for
from app.sandbox.stills import fill, paint, size_of
from tests.sandbox.conftest import Box, OpenBox


def frames(path: Path) -> list[Image.Image]:
    with av.open(str(path)) as container:
        return [frame.to_image() for frame in container.decode(video=0)]


def difference(one: Image.Image, other: Image.Image) -> float:
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3


async def test_film__is_what_was_asked_for(open_box: OpenBox) -> None:
    box = open_box(render="full")
    content = io.BytesIO()
    paint("a harbour at dawn").save(content, "JPEG")
    uploaded = await box.bought("a boat", model="veo2/image-to-video", image_url=_data_uri(content.getvalue()))
    box.wait()
    url = (await box.poll(uploaded)).json()["video"]["url"]
    file = io.BytesIO((await box.http.get(url)).content)
    assert file.getvalue().index(b"moov") < file.getvalue().index(b"mdat")
    with av.open(file) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, stream.average_rate) == (1280, 720, 24)
        assert container.duration == 5_000_000
        shown = [
            frame.to_image() for number, frame in enumerate(container.decode(video=0)) if number in (0, 1, 60, 119)
        ]
    assert difference(shown[0], shown[2]) > 2
    assert difference(shown[2], shown[3]) > 2
    assert 0 < difference(shown[0], shown[1]) < 2


def _data_uri(content: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(content).decode()


def small(**changes: Any) -> Order:
    return Order(**({"first": "x", "last": None, "caption": "", "width": 160, "height": 96, "seconds": 1} | changes))


def test_shoot__cross_fades_to_the_last_image(tmp_path: Path) -> None:
    shoot(small(), stills=tmp_path, path=tmp_path / "a.mp4")
    shoot(small(last="quite another"), stills=tmp_path, path=tmp_path / "b.mp4")
    alone, faded = frames(tmp_path / "a.mp4"), frames(tmp_path / "b.mp4")
    assert difference(alone[0], faded[0]) < 2
    assert difference(alone[-1], faded[-1]) > 10


def test_shoot__writes_the_prompt_and_the_mark(tmp_path: Path) -> None:
    order = small(width=640, height=360, caption="", seconds=1)
    shoot(order, stills=tmp_path, path=tmp_path / "a.mp4")
    shoot(small(width=640, height=360, caption="A paper boat"), stills=tmp_path, path=tmp_path / "b.mp4")
    bare, written = frames(tmp_path / "a.mp4")[0], frames(tmp_path / "b.mp4")[0]
    foot, top = (0, 260, 640, 360), (0, 0, 640, 150)
    assert difference(bare.crop(foot), written.crop(foot)) > 10
    assert difference(bare.crop(top), written.crop(top)) < 1
    assert ImageStat.Stat(written.crop(foot).convert("L")).extrema[0][1] > 200


def test_camera__moves_steadily_and_stays_inside() -> None:
    boxes = [camera(number / 119, (1434, 806), 0.7) for number in range(120)]
    for seen in boxes:
        assert 0 <= seen.left < seen.right <= 1434
        assert 0 <= seen.top < seen.bottom <= 806
        assert (seen.right - seen.left) / (seen.bottom - seen.top) == pytest.approx(1434 / 806)
    steps = [abs(after.left - before.left) for before, after in itertools.pairwise(boxes)]
    assert 0 < max(steps) < 3


@pytest.mark.parametrize(
    ("asked", "resolution", "allowed", "image", "expected"),
    [
        ("16:9", "", [], None, (1280, 720)),
        ("9:16", "720p", [], None, (720, 1280)),
        ("1:1", "", [], None, (960, 960)),
        ("4:3", "", [], None, (1108, 832)),
        ("21:9", "", [], None, (1280, 548)),
        ("16:9", "480p", [], None, (854, 480)),
        ("16:9", "1080p", [], None, (1280, 720)),
        ("", "4k", [], None, (1280, 720)),
        ("", "768P", [], None, (1280, 720)),
        ("1280:720", "", [], None, (1280, 720)),
        ("auto", "", ["auto", "16:9", "9:16"], (600, 900), (720, 1280)),
        ("", "", [], (500, 500), (960, 960)),
        ("", "", ["16:9", "9:16"], (500, 500), (1280, 720)),
        ("", "", [], None, (1280, 720)),
    ],
)
def test_frame_size__follows_request_then_image(
    asked: str, resolution: str, allowed: list[str], image: tuple[int, int] | None, expected: tuple[int, int]
) -> None:
    assert frame_size(asked, resolution=resolution, allowed=allowed, image=image) == expected


def test_order__reads_first_and_last_image_and_drops_fault_marks(tmp_path: Path) -> None:
    inputs = {"prompt": "a [[fault:slow]] boat", "image_url": "https://a", "tail_image_url": "https://b", "duration": 7}
    order = order_for(load().get("veo2/image-to-video"), inputs, tmp_path)
    assert order == Order("https://a", "https://b", "a boat", 1280, 720, 7.0)
    assert order.key != Order("https://a", None, "a boat", 1280, 720, 7.0).key


def test_order__exists_for_every_model_we_ship(tmp_path: Path) -> None:
    for model in load().models.values():
        order = order_for(model, {"prompt": "x"}, tmp_path)
        assert max(order.width, order.height) <= 1280
        assert 1 <= order.seconds <= 30


async def test_size_of__honours_orientation(tmp_path: Path) -> None:
    turned = Image.new("RGB", (40, 20))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "abc", "JPEG", exif=exif)
    assert size_of("still:abc", tmp_path) == (20, 40)


def test_fill__covers_the_frame_or_shows_the_whole_on_its_own_ground() -> None:
    wide = Image.new("RGB", (400, 100), (200, 0, 0))
    assert fill(wide, (160, 90)).getpixel((80, 45)) == (200, 0, 0)
    shade = fill(wide, (160, 90)).getpixel((80, 2))
    assert isinstance(shade, tuple)
    assert 0 < shade[0] < 200
    assert fill(Image.new("RGB", (200, 100), (200, 0, 0)), (160, 90)).getpixel((80, 2)) == (200, 0, 0)


def test_paint__is_the_same_for_the_same_text_only() -> None:
    assert paint("a").tobytes() == paint("a").tobytes()
    assert difference(paint("a"), paint("b")) > 3


@pytest.mark.parametrize("prompt", ["", "日本語だけ", "word " * 400, "x" * 3000, "a\nb\tc", "Ünïcödé – naïve"])
@pytest.mark.parametrize("size", [(160, 90), (720, 1280)])
def test_overlay__takes_any_prompt(prompt: str, size: tuple[int, int]) -> None:
    for patch in overlay(prompt, size):
        assert patch.left % 2 == patch.top % 2 == 0
        assert patch.left + patch.ink.width <= size[0]
        assert patch.top + patch.ink.height <= size[1]
        assert patch.ink.size == patch.shade.size


async def test_studio__makes_equal_films_once(open_box: OpenBox) -> None:
    box = open_box(render="full")
    studio = box.sandbox.studio
    one, two = await asyncio.gather(studio.film(small()), studio.film(small()))
    assert one == two == await studio.film(small())
    assert studio.shot == 1
    await studio.film(small(caption="another"))
    assert studio.shot == 2


async def test_studio__tries_a_failed_film_again(open_box: OpenBox) -> None:
    studio = open_box(render="full").sandbox.studio
    missing = small(first="still:missing")
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            await studio.film(missing)
    assert studio.ready(missing) is None


async def test_tiny__is_one_small_real_video_for_all(box: Box) -> None:
    urls = [(await box.finished(prompt))["video"]["url"] for prompt in ("one", "two")]
    files = {(await box.http.get(url)).content for url in urls}
    assert len(files) == 1
    with av.open(io.BytesIO(files.pop())) as container:
        assert (container.streams.video[0].width, container.duration) == (TINY.width, 1_000_000)
    assert box.sandbox.studio.shot == 1
