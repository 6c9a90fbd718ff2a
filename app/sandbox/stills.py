"""Images to begin a film with: a submitted one, or a painted landscape where only a link or a prompt is given."""

import hashlib
import math
import random
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFilter, ImageOps

from app.sandbox.intake import STILL

_RIDGES = 5
_WHITE = (255, 255, 255)
_CROP_TOLERANCE = 1.9
"""How much wider or taller than the frame an image may be before it is shown whole, on a blurred ground."""

Colour = tuple[int, int, int]


class Palette(NamedTuple):
    """The colours of one landscape: the sky from the top down, the farthest ridge and the nearest."""

    sky: tuple[Colour, Colour, Colour]
    far: Colour
    near: Colour


_PALETTES = (
    Palette(((43, 45, 110), (176, 93, 143), (255, 179, 122)), (150, 104, 148), (22, 18, 46)),  # dusk
    Palette(((66, 120, 184), (158, 196, 230), (255, 222, 190)), (140, 166, 194), (27, 42, 64)),  # dawn
    Palette(((58, 28, 71), (192, 80, 77), (255, 197, 107)), (166, 88, 88), (31, 15, 31)),  # ember
    Palette(((15, 76, 92), (63, 160, 160), (246, 226, 182)), (104, 164, 158), (9, 40, 48)),  # sea
    Palette(((104, 164, 178), (200, 222, 206), (255, 240, 205)), (146, 178, 152), (22, 46, 32)),  # forest
    Palette(((11, 16, 51), (39, 53, 111), (128, 126, 190)), (78, 86, 146), (7, 10, 28)),  # night
)


def open_still(reference: str, stills: Path, *, side: int) -> Image.Image:
    """Return the image that `reference` names: a stored one, or a square painting, always the same for a text."""
    if not reference.startswith(STILL):
        return paint(reference, side)
    with Image.open(stills / reference.removeprefix(STILL)) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def size_of(reference: str, stills: Path) -> tuple[int, int] | None:
    """Return the size of a stored image as a viewer sees it, or None for a painting, which fits any frame."""
    if not reference.startswith(STILL):
        return None
    with Image.open(stills / reference.removeprefix(STILL)) as image:
        turned = image.getexif().get(0x0112, 1) >= 5  # orientations 5 to 8 lie on their side
        return (image.height, image.width) if turned else image.size


def fill(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the image covering a frame; one of a very different shape is shown whole on its own blurred ground."""
    covering = ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    ratio = (image.width / image.height) / (size[0] / size[1])
    if max(ratio, 1 / ratio) < _CROP_TOLERANCE:
        return covering
    small = covering.resize((max(1, size[0] // 8), max(1, size[1] // 8)), Image.Resampling.BILINEAR)
    ground = (
        small.filter(ImageFilter.GaussianBlur(6))
        .point(lambda level: level * 0.6)
        .resize(size, Image.Resampling.BICUBIC)
    )
    whole = ImageOps.contain(image, size, Image.Resampling.LANCZOS)
    ground.paste(whole, ((size[0] - whole.width) // 2, (size[1] - whole.height) // 2))
    return ground


def paint(text: str, side: int = 1280) -> Image.Image:
    """Paint a quiet landscape at dusk or dawn: sky, sun and ridges in colours that follow from the text."""
    digest = hashlib.sha256(text.encode()).digest()
    rng = random.Random(digest)  # noqa: S311
    palette = _PALETTES[digest[0] % len(_PALETTES)]
    canvas = _vertical((*palette.sky, palette.sky[2])).resize((side, side), Image.Resampling.BICUBIC)
    sun_at = round(side * rng.uniform(0.25, 0.75)), round(side * rng.uniform(0.34, 0.46))
    sun = _between(palette.sky[2], _WHITE, 0.65)
    canvas = _with_sun(canvas, sun_at, radius=round(side * rng.uniform(0.04, 0.065)), colour=sun)
    for ridge in range(_RIDGES):
        depth = (ridge + 1) / _RIDGES
        outline = _ridge(rng, level=side * (0.46 + 0.34 * depth**1.2), swing=side * 0.07, width=side)
        colour = _between(palette.far, palette.near, ridge / (_RIDGES - 1))
        ImageDraw.Draw(canvas).polygon([*outline, (side, side), (0, side)], fill=colour)
    return canvas.filter(ImageFilter.GaussianBlur(side / 1000))


def _with_sun(canvas: Image.Image, at: tuple[int, int], *, radius: int, colour: Colour) -> Image.Image:
    """Lay a sun and its glow over the sky; the glow is blurred small, where blurring is cheap."""
    small = 8
    glow = Image.new("L", (canvas.width // small, canvas.height // small), 0)
    x, y = at[0] // small, at[1] // small
    reach = 3 * radius // small
    ImageDraw.Draw(glow).ellipse((x - reach, y - reach, x + reach, y + reach), fill=150)
    glow = glow.filter(ImageFilter.GaussianBlur(reach * 0.6)).resize(canvas.size, Image.Resampling.BICUBIC)
    lit = Image.composite(Image.new("RGB", canvas.size, colour), canvas, glow)
    ImageDraw.Draw(lit).ellipse((at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius), fill=colour)
    return lit


def _ridge(rng: random.Random, *, level: float, swing: float, width: int) -> list[tuple[float, float]]:
    """Return the outline of one ridge: a few sines of falling weight."""
    waves = [(rng.uniform(0.8, 1.6) * 2**n, rng.uniform(0, math.tau), swing / 1.9**n) for n in range(4)]
    return [
        (x, level + sum(weight * math.sin(math.tau * turns * x / width + phase) for turns, phase, weight in waves))
        for x in range(0, width + 8, 8)
    ]


def _vertical(stops: tuple[Colour, ...]) -> Image.Image:
    """Return a one pixel wide strip of colours, from the top down, to be stretched into a gradient."""
    strip = Image.new("RGB", (1, len(stops)))
    for row, colour in enumerate(stops):
        strip.putpixel((0, row), colour)
    return strip.resize((1, 256), Image.Resampling.BICUBIC)


def _between(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue
