"""The words on a film: the prompt at its foot, over a soft shade, and a small mark that it comes from a sandbox."""

from typing import NamedTuple

from PIL import Image, ImageChops, ImageDraw, ImageFont

_MAX_LINES = 3
_MARK = "SANDBOX"
_ELLIPSIS = "..."


class Patch(NamedTuple):
    """A part of the frame to write on, at even coordinates: where it is darkened, and what is then white."""

    left: int
    top: int
    shade: Image.Image
    ink: Image.Image


def overlay(prompt: str, size: tuple[int, int]) -> list[Patch]:
    """Lay out the caption and the mark for a frame of that size; only the patches they touch need any work later."""
    width, height = size
    unit = min(size) / 720
    shade, ink = Image.new("L", size, 0), Image.new("L", size, 0)
    lines, font = _set(prompt, width=round(width * 0.84), text_size=max(8, round(30 * unit)))
    if lines:
        leading = round(font.size * 1.36)
        top = height - round(44 * unit) - leading * len(lines)
        shade.paste(_gradient((width, height - max(0, top - round(90 * unit)))), (0, max(0, top - round(90 * unit))))
        for row, line in enumerate(lines):
            x = (width - font.getlength(line)) / 2
            ImageDraw.Draw(ink).text((x, top + row * leading), line, font=font, fill=242)
    _stamp(shade, ink, unit)
    middle = height // 2
    return [_patch(shade, ink, (0, 0, width, middle)), _patch(shade, ink, (0, middle, width, height))]


def _patch(shade: Image.Image, ink: Image.Image, within: tuple[int, int, int, int]) -> Patch:
    """Cut out what is not empty, widened to even coordinates, where chroma samples lie."""
    touched = ImageChops.lighter(shade, ink).crop(within).getbbox() or (0, 0, 2, 2)
    left, top = within[0] + touched[0] & ~1, within[1] + touched[1] & ~1
    box = (left, top, within[0] + touched[2] + 1 & ~1, within[1] + touched[3] + 1 & ~1)
    return Patch(left, top, shade.crop(box), ink.crop(box))


def _stamp(shade: Image.Image, ink: Image.Image, unit: float) -> None:
    """Put the mark into the upper right corner, letter-spaced, on a faint pill."""
    font = ImageFont.load_default(max(6, round(15 * unit)))
    spacing = 2.2 * unit
    length = sum(font.getlength(letter) + spacing for letter in _MARK) - spacing
    pad, margin, tall = 12 * unit, 26 * unit, 30 * unit
    left, top = shade.width - margin - length - 2 * pad, margin
    pill = Image.new("L", shade.size, 0)
    ImageDraw.Draw(pill).rounded_rectangle((left, top, shade.width - margin, top + tall), radius=tall / 2, fill=105)
    shade.paste(ImageChops.lighter(shade, pill))
    x = left + pad
    for letter in _MARK:
        ImageDraw.Draw(ink).text((x, top + tall / 2), letter, font=font, fill=205, anchor="lm")
        x += font.getlength(letter) + spacing


def _gradient(size: tuple[int, int]) -> Image.Image:
    """Return a shade that begins unseen and deepens towards the bottom."""
    column = Image.new("L", (1, 128))
    for row in range(128):
        reach = row / 127
        column.putpixel((0, row), round(185 * reach * reach * (3 - 2 * reach)))
    return column.resize(size, Image.Resampling.BILINEAR)


def _set(prompt: str, *, width: int, text_size: int) -> tuple[list[str], ImageFont.FreeTypeFont]:
    """Break the prompt into lines that fit, smaller if it is long; what does not fit ends in dots."""
    loaded = ImageFont.load_default(text_size if len(prompt) < 120 else round(text_size * 0.8))
    assert isinstance(loaded, ImageFont.FreeTypeFont)
    words = _writable(prompt, loaded).split()
    lines: list[str] = []
    for word in words:
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and loaded.getlength(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(word)
    shown = [_clipped(line, width, loaded) for line in lines[:_MAX_LINES]]
    if len(lines) > _MAX_LINES:
        shown[-1] = _clipped(f"{lines[_MAX_LINES - 1]} {lines[_MAX_LINES]}", width, loaded, always=True)
    return shown, loaded


def _clipped(line: str, width: int, font: ImageFont.FreeTypeFont, *, always: bool = False) -> str:
    if font.getlength(line) <= width and not always:
        return line
    while line and font.getlength(line + _ELLIPSIS) > width:
        line = line[:-1]
    return line.rstrip(" ,.;:-") + _ELLIPSIS


def _writable(prompt: str, font: ImageFont.FreeTypeFont) -> str:
    """Leave out the letters that the built-in font has not: boxes would look broken."""
    missing = bytes(font.getmask("\U0010fffe"))
    known = {letter: letter.isspace() or bytes(font.getmask(letter)) != missing for letter in set(prompt[:600])}
    return "".join(letter for letter in prompt[:600] if known[letter])
