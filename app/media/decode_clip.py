"""Runs in the child process only: is this the video or the sound that it claims to be? Decodes its beginning."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import av
import av.audio.codeccontext
import av.audio.frame
import av.audio.stream
import av.container
import av.error
import av.subtitles.codeccontext
import av.subtitles.stream
import av.video.codeccontext
import av.video.frame
from av.stream import Disposition

from app.media.decode_video import check_boxes
from app.media.decoder import Refused

_WORDS = {"video": "video", "audio": "sound", None: "file"}


def probe(source: BinaryIO, *, demuxer: str, kind: str | None, max_pixels: int) -> tuple[dict[str, Any], bytes]:
    """Return the size in pixels, if it has any, and the kind; None takes either. Raises Refused."""
    source = io.BytesIO(source.read())  # an upload comes through a pipe, and demuxers jump about
    if demuxer == "mp4":
        check_boxes(source)
    with _opened(source, demuxer=demuxer, kind=kind) as container:
        moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        kind = kind or ("video" if moving else "audio")
        streams: list[Any] = moving if kind == "video" else list(container.streams.audio)
        if not streams:
            raise Refused(f"The file holds no {_WORDS[kind]}.")
        if kind == "audio" and moving:
            raise Refused("The file holds a video. Send the sound alone.")
        stream = streams[0]
        if stream.codec_context is None:
            raise Refused(f"The {_WORDS[kind]} is in a format that cannot be decoded.")
        if kind == "video" and stream.codec_context.width * stream.codec_context.height > max_pixels:
            raise Refused(f"The video has more than {max_pixels} pixels a picture.")
        stream.codec_context.thread_count = 1
        frame = next((frame for packet in container.demux(stream) for frame in packet.decode()), None)
        if frame is None:
            raise Refused(f"The {_WORDS[kind]} is empty or cut off.")
        size = {"width": getattr(frame, "width", None), "height": getattr(frame, "height", None)}
        return size | {"kind": kind}, b""


@contextmanager
def _opened(source: BinaryIO, *, demuxer: str, kind: str | None) -> Iterator[av.container.InputContainer]:
    options = {"protocol_whitelist": "file"}
    try:
        with av.open(source, "r", format=demuxer, options=options, metadata_errors="replace") as container:
            yield container
    except av.error.FFmpegError as error:
        raise Refused(f"The {_WORDS[kind]} is damaged; it does not decode.") from error
