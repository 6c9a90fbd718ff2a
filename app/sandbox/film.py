"""Makes the videos: a slow pan and zoom over a still, the prompt as its caption, as a real H.264 MP4.

Frames are cut straight from YUV planes with sub-pixel boxes: half the work of RGB, and the motion is smooth.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NamedTuple

import av
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image, ImageChops

from app.sandbox.captions import Patch, overlay
from app.sandbox.stills import fill, open_still

FRAMES_PER_SECOND = 24
_LOOK = 1
"""Part of every film's name in the cache: raise it when films are to look different."""

_SPARE = 1.12
"""How much larger than the frame the still is prepared: the room in which the camera moves."""
_ZOOM = 1.16
_CROSSFADE_SHARE = 0.22
_BLACK, _WHITE, _NEUTRAL = 16, 235, 128
_BT709 = 1
_OPTIONS = {
    "preset": "superfast",
    "crf": "20",
    "x264-params": "colorprim=bt709:transfer=bt709:colormatrix=bt709:bframes=0:rc-lookahead=10",
}


@dataclass(frozen=True)
class Order:
    """Everything that decides how a film looks; equal orders are one file. Stills are checksums or any other text."""

    first: str
    last: str | None
    caption: str
    width: int
    height: int
    seconds: float

    @property
    def key(self) -> str:
        return hashlib.sha256(repr((_LOOK, *astuple(self))).encode()).hexdigest()[:40]


TINY = Order(first="tiny", last=None, caption="", width=160, height=90, seconds=1)


class Planes(NamedTuple):
    """A picture in 4:2:0, its parts as grey images."""

    y: Image.Image
    u: Image.Image
    v: Image.Image


class Box(NamedTuple):
    """What the camera sees, in pixels of the prepared still."""

    left: float
    top: float
    right: float
    bottom: float


def shoot(order: Order, *, stills: Path, path: Path) -> None:
    """Render a film to `path`; it appears there whole or not at all. Takes CPU time: never call it on an event loop."""
    part = path.with_suffix(".part")
    with av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options=_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = order.width, order.height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.color_range, stream.codec_context.colorspace = 1, _BT709
        for planes in _frames(order, stills):
            container.mux(stream.encode(_as_frame(planes, "yuv420p")))
        container.mux(stream.encode(None))
    part.replace(path)


def _frames(order: Order, stills: Path) -> Iterator[Planes]:
    size = (order.width, order.height)
    first = _prepared(order.first, size, stills)
    last = _prepared(order.last, size, stills) if order.last else None
    words = [(patch, _halved(patch)) for patch in overlay(order.caption, size)]
    heading = hashlib.sha256(order.first.encode()).digest()[0] / 256 * math.tau
    count = max(2, round(order.seconds * FRAMES_PER_SECOND))
    for number in range(count):
        at = number / (count - 1)
        planes = _cut(first, camera(at, first.y.size, heading), size)
        mix = (at - (1 - _CROSSFADE_SHARE)) / _CROSSFADE_SHARE
        if last and mix > 0:
            planes = _blend(planes, _cut(last, camera(at, last.y.size, heading), size), _eased(mix))
        yield _written(planes, words)


def camera(at: float, still: tuple[int, int], heading: float) -> Box:
    """Return what is seen at that share of the film: the frame closes in while it drifts along `heading`."""
    width, height = still
    progress = 0.5 * at + 0.5 * _eased(at)
    share = 1 / (_SPARE ** (1 - progress) * _ZOOM**progress)
    seen_width, seen_height = width * share, height * share
    drift = progress - 0.5
    centre_x = width / 2 + math.cos(heading) * drift * (width - seen_width) * 0.9
    centre_y = height / 2 + math.sin(heading) * drift * (height - seen_height) * 0.9
    left = min(max(centre_x - seen_width / 2, 0), width - seen_width)
    top = min(max(centre_y - seen_height / 2, 0), height - seen_height)
    return Box(left, top, min(left + seen_width, width), min(top + seen_height, height))


def _eased(at: float) -> float:
    return at * at * (3 - 2 * at)


def _prepared(reference: str, size: tuple[int, int], stills: Path) -> Planes:
    """Return a still as planes a little larger than the frame, in the colours of HD television."""
    roomy = (_even(size[0] * _SPARE), _even(size[1] * _SPARE))
    rgb = _as_frame([fill(open_still(reference, stills, side=max(roomy)), roomy)], "rgb24")
    frame = rgb.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
    return Planes(*(_as_image(plane) for plane in frame.planes))


def _even(length: float) -> int:
    return 2 * round(length / 2)


def _as_image(plane: av.video.plane.VideoPlane) -> Image.Image:
    """Copy a plane out of a frame, whose rows may be padded."""
    padded = Image.frombytes("L", (plane.line_size, plane.height), bytes(plane)[: plane.line_size * plane.height])
    return padded.crop((0, 0, plane.width, plane.height))


def _as_frame(images: Sequence[Image.Image], pixel_format: str) -> av.VideoFrame:
    """Copy images into the planes of a frame, padding their rows as it wants them."""
    frame = av.VideoFrame(*images[0].size, pixel_format)
    for plane, image in zip(frame.planes, images, strict=True):
        rows = image.tobytes("raw", image.mode, plane.line_size, 1)
        plane.update(rows.ljust(plane.buffer_size, b"\0"))
    return frame


def _cut(still: Planes, box: Box, size: tuple[int, int]) -> Planes:
    half = Box(*(edge / 2 for edge in box))
    chroma = (size[0] // 2, size[1] // 2)
    return Planes(
        still.y.resize(size, Image.Resampling.BILINEAR, box=box),
        still.u.resize(chroma, Image.Resampling.BILINEAR, box=half),
        still.v.resize(chroma, Image.Resampling.BILINEAR, box=half),
    )


def _blend(one: Planes, other: Planes, mix: float) -> Planes:
    return Planes(*(Image.blend(a, b, mix) for a, b in zip(one, other, strict=True)))


def _halved(patch: Patch) -> Image.Image:
    """Return where a patch takes the colour away, at the size of the chroma planes."""
    covered = ImageChops.lighter(patch.shade, patch.ink)
    return covered.resize((covered.width // 2, covered.height // 2), Image.Resampling.BILINEAR)


def _written(planes: Planes, words: list[tuple[Patch, Image.Image]]) -> Planes:
    """Write on a picture, in place."""
    for patch, colourless in words:
        planes.y.paste(_BLACK, (patch.left, patch.top), patch.shade)
        planes.y.paste(_WHITE, (patch.left, patch.top), patch.ink)
        for chroma in (planes.u, planes.v):
            chroma.paste(_NEUTRAL, (patch.left // 2, patch.top // 2), colourless)
    return planes
