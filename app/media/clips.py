"""Uploads that claim to be videos or sounds: checked by decoding in a child process, and kept as they came."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from app.domain.errors import NotAClip
from app.media.child import DecoderCrashed, Limits, decode
from app.media.inline import decode_data_uri, too_large
from app.media.source import Source, look, sha256_of

ClipKind = Literal["video", "audio"]
TAKEN = {
    "video": "MP4, MOV, WebM or Matroska video",
    "audio": "MP3, WAV, M4A, AAC, Ogg, FLAC or WebM sound",
}
_HINTS = {"video": "data:video/mp4;base64,...", "audio": "data:audio/mpeg;base64,..."}
_HEADS = {"video": ("video",), "audio": ("audio", "video")}
"""Browsers call recorded sound a video when its container can hold one."""
_NOUNS = {"video": "video", "audio": "sound"}
_LIMITS = Limits(cpu_seconds=20, wall_seconds=60, memory_bytes=1536 << 20, output_bytes=1 << 16)


@dataclass(frozen=True, slots=True)
class Container:
    """What the first bytes say: the demuxer that must read it, and the content type with and without pictures."""

    demuxer: str
    video: str | None
    audio: str


@dataclass(frozen=True, kw_only=True)
class CheckedClip:
    """A video or a sound as it was uploaded. `sha256` is that of `data`, in hex; a sound has no size in pixels."""

    data: Source
    size_bytes: int
    content_type: str
    width: int | None
    height: int | None
    sha256: str


_STILLS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis")
_MP3_LAYERS = (0b01, 0b10, 0b11)


def sniff(data: bytes) -> Container | None:
    """Return the container by the first bytes; None for what is neither a video nor a sound that we take."""
    brand = data[8:12]
    if data[4:8] == b"ftyp" and brand not in _STILLS:
        return Container("mp4", "video/quicktime" if brand == b"qt  " else "video/mp4", "audio/mp4")
    if data.startswith(b"\x1aE\xdf\xa3"):
        return _matroska(data)
    if data[:4] == b"RIFF" and brand == b"WAVE":
        return Container("wav", None, "audio/wav")
    if data.startswith(b"OggS"):
        return Container("ogg", None, "audio/ogg")
    if data.startswith(b"fLaC"):
        return Container("flac", None, "audio/flac")
    if data.startswith(b"ID3"):
        return Container("mp3", None, "audio/mpeg")
    if len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0:  # an MPEG audio frame begins (ISO 11172-3)
        layer = data[1] >> 1 & 0b11
        return Container("mp3", None, "audio/mpeg") if layer in _MP3_LAYERS else Container("aac", None, "audio/aac")
    return None


def _matroska(data: bytes) -> Container:
    if b"webm" in data[:64]:
        return Container("matroska", "video/webm", "audio/webm")
    return Container("matroska", "video/x-matroska", "audio/x-matroska")


def from_data_uri(text: str, *, kind: ClipKind, max_bytes: int) -> bytes:
    """Return the bytes of a base64 data URI. Raises NotAClip."""
    hint = f"{_HINTS[kind]} and hold an {TAKEN[kind]}"
    return decode_data_uri(
        text, kinds=_HEADS[kind], noun=_NOUNS[kind], hint=hint, max_bytes=max_bytes, refusal=NotAClip
    )


async def check(source: Source, *, kind: ClipKind, max_bytes: int, max_pixels: int) -> CheckedClip:
    """Decode the beginning of an upload in a child process, with the demuxer that its first bytes name.

    Raises NotAClip with a sentence for the user, and DecoderCrashed when the decoder died or ran into its limits.
    """
    head, size = await look(source)
    if size > max_bytes:
        raise NotAClip(too_large(_NOUNS[kind], max_bytes))
    container = sniff(head)
    if container is None or (kind == "video" and container.video is None):
        raise NotAClip(f"This is no {_NOUNS[kind]} that Reelay knows; send an {TAKEN[kind]}.")
    return await _probed(source, container, kind=kind, size=size, max_pixels=max_pixels)


async def check_either(source: Source, *, max_bytes: Mapping[ClipKind, int], max_pixels: int) -> CheckedClip:
    """The same for an upload that nobody said the kind of: a video if it has one, else a sound."""
    head, size = await look(source)
    container = sniff(head)
    if container is None:
        raise NotAClip(
            f"This is no video and no sound that Reelay knows; send an {TAKEN['video']}, or {TAKEN['audio']}."
        )
    kind: ClipKind | None = None if container.video else "audio"
    clip = await _probed(source, container, kind=kind, size=size, max_pixels=max_pixels)
    kind = "video" if clip.content_type == container.video else "audio"
    if size > max_bytes[kind]:
        raise NotAClip(too_large(_NOUNS[kind], max_bytes[kind]))
    return clip


async def _probed(
    source: Source, container: Container, *, kind: ClipKind | None, size: int, max_pixels: int
) -> CheckedClip:
    decoded = await decode(
        "app.media.decode_clip:probe",
        source=source,
        arguments={"demuxer": container.demuxer, "kind": kind, "max_pixels": max_pixels},
        limits=_LIMITS,
        refusal=NotAClip,
    )
    match decoded.facts:
        case {"width": int() | None as width, "height": int() | None as height, "kind": "video" | "audio" as found}:
            content_type = container.video if found == "video" else container.audio
            if content_type is not None:
                return CheckedClip(
                    data=source,
                    size_bytes=size,
                    content_type=content_type,
                    width=width,
                    height=height,
                    sha256=await sha256_of(source),
                )
    raise DecoderCrashed("The decoder's answer cannot be read.")
