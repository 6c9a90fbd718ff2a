"""Runs in the child process only: decode a foreign image and write its pixels anew.

Every Pillow module that may be needed is imported here, because later no file can be opened.
"""

import io
import struct
import zlib
from typing import Any, BinaryIO

from PIL import Image, ImageCms, JpegImagePlugin, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin

from app.media.decoder import Refused

FORMATS = ("JPEG", "PNG", "WEBP")
# Loaded here for Pillow, which otherwise imports them when it meets EXIF data or a phone's multi-picture JPEG.
LOADED = (MpoImagePlugin, TiffImagePlugin, WebPImagePlugin)
Image.preinit()
# The longest side that a JPEG may have when it is written.
LONGEST_SIDE = 65_500
JPEG_QUALITY = 95
# The EXIF tag, and what makes each of its values upright (EXIF 2.32, 4.6.5).
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow raises over broken bytes. A MemoryError is none of them: that is a limit, and the child dies of it.
BROKEN = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, struct.error, zlib.error)

# Pillow's own limit warns first and refuses at twice the number; ours refuses before a pixel is decoded.
Image.MAX_IMAGE_PIXELS = None


def normalise(source: BinaryIO, *, max_pixels: int, max_side: int | None) -> tuple[dict[str, Any], bytes]:
    """Return the new image's size, and the one it had if it was scaled; and its bytes.

    Raises Refused with a sentence for the user.
    """
    data = source.read()
    if data[8:12] == b"WEBP":
        # Pillow allocates the whole canvas when it merely opens a WebP.
        _check_size(*_webp_size(data), max_pixels=max_pixels)
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_size(*image.size, max_pixels=max_pixels)
        _refuse_animation(image)
        image.load()
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's, not Pillow's: a door that should have been open is our mistake
        raise Refused("The image is damaged or cut off; it does not decode.") from error
    is_jpeg = image.format in ("JPEG", "MPO")
    subsampling = _sampling(image)
    pixels = _plain(_upright(image))
    scaled_from = None
    if max_side is not None and max(pixels.size) > max_side:
        scaled_from = pixels.size
        pixels.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    pixels.info = {}  # the writers copy comments, profiles and transparency from here
    written = io.BytesIO()
    if is_jpeg:
        pixels.save(written, "JPEG", quality=JPEG_QUALITY, subsampling=subsampling)
    else:
        pixels.save(written, "PNG")
    return {"width": pixels.width, "height": pixels.height, "scaled_from": scaled_from}, written.getvalue()


def _check_size(width: int, height: int, *, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise Refused("The image has no pixels.")
    if width * height > max_pixels or max(width, height) > LONGEST_SIDE:
        raise Refused(f"The image is too large: {width} x {height} pixels; at most {max_pixels} pixels are taken.")


def _webp_size(data: bytes) -> tuple[int, int]:
    """Read the canvas size from the first chunk (RFC 9649). Raises Refused if there is none."""
    head = data[:30].ljust(30, b"\0")
    match head[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
        case b"VP8L":
            bits = int.from_bytes(head[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
    raise Refused("The image is damaged or cut off; it does not decode.")


def _refuse_animation(image: Image.Image) -> None:
    # A phone's JPEG may carry further pictures (a preview, a depth map): the first is the photo.
    if image.format in ("PNG", "WEBP") and getattr(image, "is_animated", False):
        raise Refused("The image is animated; send a still image.")


def _sampling(image: Image.Image) -> int:
    """Keep full colour resolution where the original has it; 4:2:0 otherwise."""
    full = isinstance(image, JpegImagePlugin.JpegImageFile) and JpegImagePlugin.get_sampling(image) == 0
    return 0 if full else 2


def _upright(image: Image.Image) -> Image.Image:
    # Not `ImageOps.exif_transpose`: it writes the other tags anew as well, and may fail over them.
    try:
        turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    except BROKEN:
        return image  # an unreadable EXIF block says nothing about the pixels
    return image if turn is None else image.transpose(turn)


def _plain(image: Image.Image) -> Image.Image:
    """Return the pixels in sRGB as L, LA, RGB or RGBA."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I;16"):
        image = image.convert("I")
    if image.mode in ("I", "F"):
        image = image.point(lambda value: value / 256).convert("L")
    elif image.mode in ("P", "PA", "RGB", "L", "1"):
        image = image.convert(_mode_for(image))
    if profile:
        image = _in_srgb(image, profile)
    return image if image.mode in ("L", "LA", "RGB", "RGBA") else image.convert("RGB")


def _mode_for(image: Image.Image) -> str:
    if "transparency" in image.info or image.mode == "PA":
        return "RGBA"
    return {"P": "RGB", "1": "L"}.get(image.mode, image.mode)


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    try:
        return (
            ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGBA" if image.mode == "RGBA" else "RGB",
            )
            or image
        )
    except (ImageCms.PyCMSError, *BROKEN):
        return image  # a broken profile, or one for other channels: viewers ignore it as well
