"""Finished videos: is it a playable MP4, what is in it, and a poster image."""

from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from app.domain.errors import NotAVideo
from app.media.child import DecoderCrashed, Limits, decode

POSTER_WIDTH = 1280
_LIMITS = Limits(cpu_seconds=30, wall_seconds=90, memory_bytes=1536 << 20, output_bytes=8 << 20)
log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """What is in a video; sizes as shown, after its rotation. `poster` is a JPEG, None if none could be made."""

    duration_seconds: float
    width: int
    height: int
    fps: float
    codec: str
    poster: bytes | None = None


async def inspect(path: Path) -> VideoFacts:
    """Probe the video at `path` and make its poster, each in a child process of its own.

    Raises NotAVideo if it is no playable, complete MP4; DecoderCrashed if the probe itself died, so that the caller may
    keep the video without facts; StorageFailed if the file can't be read. A poster that fails costs the poster only.
    """
    facts = await _probe(path)
    try:
        return replace(facts, poster=await _poster(path))
    except (DecoderCrashed, NotAVideo) as error:
        log.warning("poster_failed", reason=str(error))
        return facts


async def _probe(path: Path) -> VideoFacts:
    decoded = await decode("app.media.decode_video:probe", source=path, limits=_LIMITS, refusal=NotAVideo)
    match decoded.facts:
        case {
            "duration_seconds": float(duration_seconds),
            "width": int(width),
            "height": int(height),
            "fps": float(fps),
            "codec": str(codec),
        }:
            return VideoFacts(duration_seconds=duration_seconds, width=width, height=height, fps=fps, codec=codec[:32])
    raise DecoderCrashed("The video decoder's answer cannot be read.")


async def _poster(path: Path) -> bytes:
    decoded = await decode(
        "app.media.decode_video:poster",
        source=path,
        arguments={"max_width": POSTER_WIDTH},
        limits=_LIMITS,
        refusal=NotAVideo,
    )
    if not decoded.blob.startswith(b"\xff\xd8\xff"):
        raise DecoderCrashed("The video decoder answered with something else than a JPEG.")
    return decoded.blob
