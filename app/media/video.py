"""Finished videos: is it a playable MP4, what is in it, and a poster image."""

from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from app.domain.errors import NotAVideo
from app.media.child import Decoded, DecoderCrashed, Limits, decode

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
    """Probe the video at `path` and make its poster, in one child process that tells the facts first.

    Raises NotAVideo if it is no playable, complete MP4; DecoderCrashed if the probe itself died, so that the caller may
    keep the video without facts; StorageFailed if the file can't be read. A poster that fails costs the poster only.
    """
    decoded = await decode(
        "app.media.decode_video:inspect",
        source=path,
        arguments={"max_width": POSTER_WIDTH},
        limits=_LIMITS,
        refusal=NotAVideo,
        facts_suffice=True,
    )
    facts = _facts(decoded)
    if decoded.blob.startswith(b"\xff\xd8\xff"):
        return replace(facts, poster=decoded.blob)
    log.warning("poster_failed", reason=decoded.trouble or "it is no JPEG")
    return facts


def _facts(decoded: Decoded) -> VideoFacts:
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
