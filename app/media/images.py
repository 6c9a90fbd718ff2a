"""Uploads that claim to be images: checked by decoding, turned upright, stripped of everything but pixels."""

from dataclasses import dataclass

from app.domain.errors import NotAnImage
from app.media import inline
from app.media.child import DecoderCrashed, Limits, decode
from app.media.source import Source, look, sha256_of

JPEG, PNG, WEBP = "image/jpeg", "image/png", "image/webp"
_WRONG_KINDS = {
    b"GIF8": "a GIF",
    b"BM": "a BMP",
    b"II*\x00": "a TIFF",
    b"MM\x00*": "a TIFF",
    b"%PDF": "a PDF",
    b"<svg": "an SVG",
    b"<?xm": "an SVG or XML file",
    b"<!do": "a web page",
    b"<htm": "a web page",
}
_WRONG_BRANDS = {
    b"heic": "a HEIC photo",
    b"heix": "a HEIC photo",
    b"mif1": "a HEIF photo",
    b"avif": "an AVIF image",
}


@dataclass(frozen=True, kw_only=True)
class CheckedImage:
    """An image made anew from the upload's pixels. `sha256` is that of `data`, in hex."""

    data: bytes
    content_type: str
    width: int
    height: int
    sha256: str
    scaled_from: tuple[int, int] | None = None
    """Width and height of the upload, upright, where the image was scaled down."""

    @property
    def size_bytes(self) -> int:
        return len(self.data)


def sniff(data: bytes) -> str | None:
    """Return the content type by the first bytes: JPEG, PNG or WebP, else None."""
    if data.startswith(b"\xff\xd8\xff"):
        return JPEG
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WEBP
    return None


def decode_data_uri(text: str, *, max_bytes: int) -> bytes:
    """Return the bytes of a base64 `data:image/...` URI. Raises NotAnImage. Tells nothing about the bytes' kind."""
    hint = "data:image/jpeg;base64,... and hold a JPEG, PNG or WebP image"
    return inline.decode_data_uri(
        text, kinds=("image",), noun="image", hint=hint, max_bytes=max_bytes, refusal=NotAnImage
    )


async def normalise(source: Source, *, max_pixels: int, max_side: int | None) -> CheckedImage:
    """Decode an upload in a child process and write it anew: upright, in sRGB, without any metadata.

    JPEG stays JPEG (quality 95); PNG and WebP become PNG. Animations are refused, not silently cut to a frame. An image
    longer than `max_side` pixels is scaled down. Raises NotAnImage with a sentence for the user, and DecoderCrashed
    when the decoder died or ran into its limits.
    """
    head, size = await look(source)
    claimed = sniff(head)
    if claimed is None:
        raise NotAnImage(f"This is {name_of(head)}; send a JPEG, PNG or WebP image.")
    decoded = await decode(
        "app.media.decode_image:normalise",
        source=source,
        arguments={"max_pixels": max_pixels, "max_side": max_side},
        limits=_limits(max_pixels, input_bytes=size),
        refusal=NotAnImage,
    )
    match decoded.facts:
        case {"width": int(width), "height": int(height)} if width > 0 and height > 0:
            content_type = JPEG if claimed == JPEG else PNG
        case _:
            raise DecoderCrashed("The image decoder's answer cannot be read.")
    if sniff(decoded.blob) != content_type:
        raise DecoderCrashed("The image decoder answered with something else than an image.")
    return CheckedImage(
        data=decoded.blob,
        content_type=content_type,
        width=width,
        height=height,
        sha256=await sha256_of(decoded.blob),
        scaled_from=_size(decoded.facts.get("scaled_from")),
    )


def _size(found: object) -> tuple[int, int] | None:
    match found:
        case [int(width), int(height)] if width > 0 and height > 0:
            return width, height
    return None


def _limits(max_pixels: int, *, input_bytes: int) -> Limits:
    """Room for about eight copies of the pixels: decoded, turned, converted, scaled, encoded."""
    pixel_bytes = 4 * max_pixels
    return Limits(
        cpu_seconds=20,
        wall_seconds=45,
        memory_bytes=(384 << 20) + 8 * pixel_bytes + 4 * input_bytes,
        output_bytes=pixel_bytes + (2 << 20),
    )


def name_of(data: bytes) -> str:
    """Return, in words, what begins with these bytes and is no image that we take."""
    if not data:
        return "an empty file"
    start = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    if data[4:8] == b"ftyp":
        return _WRONG_BRANDS.get(data[8:12], "a video or another media file")
    for magic, kind in _WRONG_KINDS.items():
        if start.startswith(magic) or start[:4].lower() == magic:
            return kind
    return "not an image that Reelay knows"
