import base64
import hashlib
import io
import struct
import zlib
from dataclasses import replace

import pytest
from PIL import Image, ImageCms, PngImagePlugin

from app.domain.errors import NotAnImage
from app.media import images
from app.media.child import DecoderCrashed
from app.media.images import CheckedImage, decode_data_uri, normalise, sniff

MAX_PIXELS = 4_000_000
ORIENTATION = 0x0112


def written(image: Image.Image, kind: str, **wishes: object) -> bytes:
    into = io.BytesIO()
    image.save(into, kind, **wishes)
    return into.getvalue()


def halves(mode: str = "RGB") -> Image.Image:
    """Return 40 x 20 pixels: the left half red, the right half blue."""
    image = Image.new("RGB", (40, 20), (220, 20, 20))
    image.paste((20, 20, 220), (20, 0, 40, 20))
    return image.convert(mode)


async def checked(data: bytes, *, max_pixels: int = MAX_PIXELS, max_side: int | None = None) -> CheckedImage:
    image = await normalise(data, max_pixels=max_pixels, max_side=max_side)
    assert image.sha256 == hashlib.sha256(image.data).hexdigest()
    assert sniff(image.data) == image.content_type
    assert opened(image).size == (image.width, image.height)
    return image


def opened(image: CheckedImage) -> Image.Image:
    return Image.open(io.BytesIO(image.data))


def pixel(image: CheckedImage, x: int, y: int) -> tuple[int, ...]:
    found = opened(image).convert("RGBA").getpixel((x, y))
    assert isinstance(found, tuple)
    return found


async def refusal_of(data: bytes, *, max_pixels: int = MAX_PIXELS) -> str:
    with pytest.raises(NotAnImage) as refused:
        await normalise(data, max_pixels=max_pixels, max_side=None)
    return str(refused.value)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


# --- what comes out


@pytest.mark.parametrize(
    ("kind", "content_type"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/png")]
)
async def test_normalise__keeps_jpeg_and_turns_the_rest_into_png(kind: str, content_type: str) -> None:
    image = await checked(written(halves(), kind))
    assert (image.content_type, image.width, image.height) == (content_type, 40, 20)
    red, _, blue, _ = pixel(image, 5, 10)
    assert red > 180 and blue < 70
    red, _, blue, _ = pixel(image, 35, 10)
    assert red < 70 and blue > 180


async def test_normalise__jpeg_keeps_its_detail() -> None:
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    sharp = Image.merge("RGB", [Image.effect_noise((64, 64), 90) for _ in range(3)])
    assert len((await checked(written(noise, "JPEG", quality=95))).data) > 3000
    full = await checked(written(sharp, "JPEG", quality=95, subsampling=0))
    assert opened(full).layer[0][1:3] == (1, 1)  # 4:4:4
    halved = await checked(written(sharp, "JPEG", quality=95, subsampling=2))
    assert opened(halved).layer[0][1:3] == (2, 2)  # 4:2:0


@pytest.mark.parametrize(
    ("kind", "orientation", "red_at"),
    [
        ("JPEG", 2, (35, 10)),
        ("JPEG", 3, (35, 10)),
        ("JPEG", 4, (5, 10)),
        ("JPEG", 5, (10, 5)),
        ("JPEG", 7, (10, 35)),
        ("JPEG", 6, (10, 5)),
        ("JPEG", 8, (10, 35)),
        ("PNG", 6, (10, 5)),
        ("WEBP", 8, (10, 35)),
    ],
)
async def test_normalise__applies_the_orientation(kind: str, orientation: int, red_at: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = await checked(written(halves(), kind, exif=exif))
    assert (image.width, image.height) == ((20, 40) if orientation >= 5 else (40, 20))
    red, _, blue, _ = pixel(image, *red_at)
    assert red > 180 and blue < 70
    assert ORIENTATION not in opened(image).getexif()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
async def test_normalise__strips_every_kind_of_metadata(kind: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 29: "2026:11:23"})
    wishes: dict[str, object] = {"exif": exif, "icc_profile": profile_bytes()}
    if kind == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_text("Author", "SecretAuthor")
        texts.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta>SecretXmp</x:xmpmeta>")
        wishes["pnginfo"] = texts
    else:
        wishes["xmp"] = b"<x:xmpmeta>SecretXmp</x:xmpmeta>"
    if kind == "JPEG":
        wishes["comment"] = "SecretAuthor"
    data = written(halves(), kind, **wishes)
    assert b"Secret" in data and b"2026:11:23" in data
    image = await checked(data)
    for trace in (
        b"Secret",
        b"2026:11:23",
        b"Exif",
        b"eXIf",
        b"xmp",
        b"iCCP",
        b"ICC_PROFILE",
        b"acsp",
        b"tEXt",
        b"iTXt",
    ):
        assert trace not in image.data
    assert not opened(image).getexif()
    assert opened(image).info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_normalise__drops_what_is_appended(kind: str) -> None:
    data = written(halves(), kind)
    image = await checked(data + b"PK\x03\x04<script>alert('polyglot')</script>")
    assert b"polyglot" not in image.data


async def test_normalise__converts_to_srgb() -> None:
    # The profile says that the first channel is green and the second one red.
    swapped = profile_bytes().replace(b"rXYZ", b"?XYZ").replace(b"gXYZ", b"rXYZ").replace(b"?XYZ", b"gXYZ")
    for kind in ("PNG", "JPEG"):
        image = await checked(written(Image.new("RGB", (16, 16), (255, 0, 0)), kind, icc_profile=swapped))
        red, green, _, _ = pixel(image, 8, 8)
        assert red < 40 and green > 215
    transparent = written(Image.new("RGBA", (16, 16), (255, 0, 0, 77)), "PNG", icc_profile=swapped)
    red, green, _, alpha = pixel(await checked(transparent), 8, 8)
    assert red < 40 and green > 215 and alpha == 77


@pytest.mark.parametrize("profile", [b"no profile at all", b"\0" * 200])
async def test_normalise__ignores_a_broken_profile(profile: bytes) -> None:
    image = await checked(written(halves(), "PNG", icc_profile=profile))
    assert pixel(image, 5, 10) == (220, 20, 20, 255)


async def test_normalise__keeps_transparency() -> None:
    image = await checked(written(Image.new("RGBA", (8, 8), (10, 200, 30, 99)), "PNG"))
    assert pixel(image, 4, 4) == (10, 200, 30, 99)
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 10, 200, 30])
    assert pixel(await checked(written(palette, "PNG", transparency=1)), 4, 4) == (10, 200, 30, 0)
    assert pixel(await checked(written(palette, "PNG")), 4, 4) == (10, 200, 30, 255)


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P"])
async def test_normalise__takes_every_png_mode(mode: str) -> None:
    image = await checked(written(Image.new("L", (8, 8), 255).convert(mode), "PNG"))
    assert pixel(image, 4, 4) == (255, 255, 255, 255)


async def test_normalise__scales_sixteen_bits() -> None:
    image = await checked(written(Image.new("I;16", (8, 8), 0x8000), "PNG"))
    assert pixel(image, 4, 4) == (128, 128, 128, 255)


async def test_normalise__takes_cmyk() -> None:
    image = await checked(written(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    red, green, blue, _ = pixel(image, 4, 4)
    assert red > 215 and green < 60 and blue < 60


async def test_normalise__takes_the_photo_of_a_multi_picture_jpeg() -> None:
    data = written(halves(), "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    image = await checked(data)
    assert (image.content_type, image.width, image.height) == ("image/jpeg", 40, 20)
    assert b"MPF" in data and b"MPF" not in image.data


async def test_normalise__ignores_broken_exif() -> None:
    data = written(halves(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xff" * 40)
    assert (await checked(data)).width == 40
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Raw profile type exif", "\nexif\n8\nno hexadecimal digits")
    assert (await checked(written(halves(), "PNG", pnginfo=texts))).width == 40


@pytest.mark.parametrize(("max_side", "size"), [(20, (20, 10)), (40, (40, 20)), (4000, (40, 20)), (None, (40, 20))])
async def test_normalise__scales_down_to_the_longest_side(max_side: int | None, size: tuple[int, int]) -> None:
    image = await checked(written(halves(), "PNG"), max_side=max_side)
    assert (image.width, image.height) == size


# --- what is refused


async def test_normalise__refuses_too_many_pixels() -> None:
    data = written(Image.new("L", (100, 100)), "PNG")
    assert (await checked(data, max_pixels=10_000)).width == 100
    assert "100 x 100" in await refusal_of(data, max_pixels=9_999)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "VP8X", "VP8L", "VP8"])
async def test_normalise__refuses_a_bomb_by_its_header(kind: str) -> None:
    data = bytearray(written(halves(), kind if kind in ("PNG", "JPEG") else "WEBP", lossless=kind == "VP8L"))
    match kind:
        case "PNG":
            data[8:33] = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
        case "JPEG":
            frame = data.index(b"\xff\xc0")
            data[frame + 5 : frame + 9] = struct.pack(">HH", 50_000, 50_000)
        case "VP8X":
            body = bytes(4) + (16_000).to_bytes(3, "little") * 2
            data[12:12] = b"VP8X" + struct.pack("<I", 10) + body
        case "VP8L":
            data[21:25] = (15_999 | 15_999 << 14).to_bytes(4, "little")
        case "VP8":
            data[26:30] = struct.pack("<HH", 16_000, 16_000)
    assert "too large" in await refusal_of(bytes(data))


@pytest.mark.parametrize(("kind", "kept"), [("JPEG", 0.3), ("JPEG", 0.97), ("PNG", 0.5), ("PNG", 0.97), ("WEBP", 0.9)])
async def test_normalise__refuses_a_truncated_image(kind: str, kept: float) -> None:
    data = written(Image.merge("RGB", [Image.effect_noise((64, 64), 90) for _ in range(3)]), kind)
    assert "cut off" in await refusal_of(data[: int(len(data) * kept)])


@pytest.mark.parametrize("start", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP"])
async def test_normalise__refuses_a_mere_signature(start: bytes) -> None:
    assert "cut off" in await refusal_of(start)
    assert "cut off" in await refusal_of(start + b"\xff" * 500)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
async def test_normalise__refuses_animations(kind: str) -> None:
    data = written(halves(), kind, save_all=True, append_images=[Image.new("RGB", (40, 20))], duration=100)
    assert "animated" in await refusal_of(data)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "an empty file"),
        (written(halves(), "GIF"), "a GIF"),
        (written(halves(), "BMP"), "a BMP"),
        (written(halves(), "TIFF"), "a TIFF"),
        (written(halves(), "AVIF"), "an AVIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC photo"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "a video"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG"),
        (b'\xef\xbb\xbf<?xml version="1.0"?><svg/>', "an SVG or XML"),
        (b"\n <!DOCTYPE html><html></html>", "a web page"),
        (b"%PDF-1.7", "a PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (b"hello", "not an image"),
        (b"GIF89a" + written(halves(), "PNG"), "a GIF"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_normalise__names_what_it_does_not_take(data: bytes, kind: str) -> None:
    refusal = await refusal_of(data)
    assert refusal.startswith(f"This is {kind}")
    assert refusal.endswith("send a JPEG, PNG or WebP image.")


async def test_normalise__opens_no_other_format_behind_a_signature() -> None:
    # Pillow would know a TIFF by its own signature; only the three formats are tried.
    assert "cut off" in await refusal_of(b"\xff\xd8\xff" + written(halves(), "TIFF"))


async def test_normalise__tells_a_crash_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = replace(images._limits(MAX_PIXELS, input_bytes=0), output_bytes=10)
    monkeypatch.setattr(images, "_limits", lambda *_, **__: limits)
    with pytest.raises(DecoderCrashed):
        await normalise(written(halves(), "PNG"), max_pixels=MAX_PIXELS, max_side=None)


# --- the small ones


def test_sniff__knows_three_formats_by_their_first_bytes() -> None:
    assert sniff(written(halves(), "JPEG")) == "image/jpeg"
    assert sniff(written(halves(), "PNG")) == "image/png"
    assert sniff(written(halves(), "WEBP")) == "image/webp"
    for other in (b"", b"\xff\xd8", b"RIFF\0\0\0\0WAVE", b"GIF89a", b"<svg/>"):
        assert sniff(other) is None


def profile_bytes() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize(
    "head", ["data:image/png;base64,", "DATA:image/jpeg;BASE64,", "data:image/svg+xml;charset=utf-8;base64,"]
)
def test_decode_data_uri__returns_the_bytes(head: str) -> None:
    data = bytes(range(256))
    assert decode_data_uri(head + base64.b64encode(data).decode(), max_bytes=256) == data


@pytest.mark.parametrize(
    "text",
    [
        "",
        "data:image/png;base64",
        "data:image/png;base64,",
        "data:image/png,AAAA",
        "data:text/html;base64,AAAA",
        "data:;base64,AAAA",
        "https://example.com/;base64,AAAA",
        " data:image/png;base64,AAAA",
        "data:image/png;base64,AAA",
        "data:image/png;base64,AAAA=",
        "data:image/png;base64,AA==AAAA",
        "data:image/png;base64,AA AA",
        "data:image/png;base64,AAAA\n",
        "data:image/png;base64,AA-_",
        "data:image/png;base64,AAA%3D",
        "data:image/png;base64,ÄÄÄÄ",
        "data:image/" + "x" * 300 + ";base64,AAAA",
    ],
)
def test_decode_data_uri__is_strict(text: str) -> None:
    with pytest.raises(NotAnImage):
        decode_data_uri(text, max_bytes=100)


@pytest.mark.parametrize("size", [98, 99, 100])
def test_decode_data_uri__takes_the_largest_size_exactly(size: int) -> None:
    head = "data:image/png;base64,"
    assert len(decode_data_uri(head + base64.b64encode(bytes(size)).decode(), max_bytes=size)) == size
    with pytest.raises(NotAnImage, match=f"larger than {size} bytes"):
        decode_data_uri(head + base64.b64encode(bytes(size + 1)).decode(), max_bytes=size)
