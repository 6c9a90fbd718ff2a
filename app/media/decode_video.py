"""Runs in the child process only: look into an MP4 without trusting it.

The demuxer is forced to MP4 and reads from the open file it is handed; FFmpeg is allowed no other protocol, and could
not open anything anyway (see `decoder.py`). That holds for Python as well: what PyAV and Pillow import only when they
meet a kind of stream or format is imported here.
"""

import io
import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import dropwhile
from typing import Any, BinaryIO

import av
import av.audio.codeccontext
import av.audio.stream
import av.container
import av.error
import av.subtitles.codeccontext
import av.subtitles.stream
from av.index import IndexEntries, IndexEntry
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image, ImageStat

from app.media.decoder import Refused

Image.preinit()
# ISO base media files that hold still images (HEIF, AVIF): the MP4 demuxer would read them.
STILL_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis"}
CUT_OFF = "The video is cut off: a part of it is missing."
POSTER_MOMENTS = (0.1, 0.25, 0.5, 0.75, 0.0)
BLACK_BELOW = 8.0


def inspect(source: BinaryIO, *, max_width: int) -> tuple[dict[str, Any], Callable[[], bytes]]:
    """Return what is in a complete MP4, and how to make its poster. Raises Refused."""
    return probe(source), lambda: poster(source, max_width=max_width)


def probe(source: BinaryIO) -> dict[str, Any]:
    """Return duration, size, frame rate and codec of a complete MP4. Raises Refused."""
    size = check_boxes(source)
    with _opened(source) as (container, stream):
        last_key = _check_index(stream.index_entries, size=size)
        frame = _first_frame(container.demux(stream))
        container.seek(last_key.timestamp, stream=stream)
        # By position: where frames are reordered, the seek may land a keyframe earlier.
        _first_frame(dropwhile(lambda packet: packet.pos != last_key.pos, container.demux(stream)))
        duration = _duration_seconds(container, stream)
        fps = float(stream.average_rate or stream.guessed_rate or 0)
        turned = frame.rotation % 180 != 0
        width, height = (frame.height, frame.width) if turned else (frame.width, frame.height)
        codec = stream.codec_context.name
    if not (math.isfinite(fps) and math.isfinite(duration) and duration > 0 and width > 0 and height > 0):
        raise Refused("The video has no duration or no size.")
    return {"duration_seconds": duration, "width": width, "height": height, "fps": fps, "codec": codec}


def poster(source: BinaryIO, *, max_width: int) -> bytes:
    """Return a JPEG of a frame near a tenth of the way, or of the first moment that is not black. Raises Refused."""
    source.seek(0)
    with _opened(source) as (container, stream):
        image = _telling_image(container, stream)
    image.thumbnail((max_width, image.height), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    image.save(written, "JPEG", quality=85)
    return written.getvalue()


def check_boxes(source: BinaryIO) -> int:
    """Walk the outer boxes (ISO 14496-12, 4.2): `ftyp` first, a `moov`, none reaching past the end. Return the size."""
    size = source.seek(0, os.SEEK_END)
    offset, kinds = 0, set[bytes]()
    while offset < size:
        source.seek(offset)
        head = source.read(16)
        kind, length = head[4:8], int.from_bytes(head[:4], "big")
        if offset == 0 and (kind != b"ftyp" or head[8:12] in STILL_BRANDS):
            raise Refused("This is not an MP4 video.")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:  # the last box, up to the end of the file
            length = size - offset
        if length < 8 or offset + length > size:
            raise Refused(CUT_OFF)
        kinds.add(kind)
        offset += length
    if b"ftyp" not in kinds:
        raise Refused("This is not an MP4 video: it is empty.")
    if b"moov" not in kinds:
        raise Refused("The video is cut off: its index is missing.")
    source.seek(0)
    return size


@contextmanager
def _opened(source: BinaryIO) -> Iterator[tuple[av.container.InputContainer, VideoStream]]:
    options = {"protocol_whitelist": "file"}
    try:
        with av.open(source, "r", format="mp4", options=options, metadata_errors="replace") as container:
            streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
            if not streams:
                raise Refused("The file holds no video, only other streams.")
            stream = streams[0]
            if stream.codec_context is None:
                raise Refused("The video is in a format that cannot be decoded.")
            stream.codec_context.thread_count = 1
            yield container, stream
    except av.error.FFmpegError as error:
        raise Refused("The video is damaged; it does not decode.") from error


def _check_index(entries: IndexEntries, *, size: int) -> IndexEntry:
    """Check that every sample lies within the file. Return the last keyframe's entry."""
    last_key = None
    for entry in entries:
        if entry.pos + entry.size > size:
            raise Refused(CUT_OFF)
        if entry.is_keyframe:
            last_key = entry
    if last_key is None:
        raise Refused("The video holds no picture.")
    return last_key


def _first_frame(packets: "Iterable[av.Packet[VideoStream]]") -> VideoFrame:
    frame = next((frame for packet in packets for frame in packet.decode()), None)
    if frame is None:
        raise Refused(CUT_OFF)
    return frame


def _duration_seconds(container: av.container.InputContainer, stream: VideoStream) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _telling_image(container: av.container.InputContainer, stream: VideoStream) -> Image.Image:
    duration = _duration_seconds(container, stream)
    first: Image.Image | None = None
    for moment in POSTER_MOMENTS:
        frame = _frame_at(container, stream, seconds=moment * duration)
        image = _image_of(frame)
        first = first or image
        if ImageStat.Stat(image.convert("L")).mean[0] >= BLACK_BELOW:
            return image
    assert first is not None
    return first


def _image_of(frame: VideoFrame) -> Image.Image:
    image: Image.Image = frame.to_image(threads=1)  # type: ignore[no-untyped-call]
    return image.rotate(frame.rotation, expand=True) if frame.rotation else image


def _frame_at(container: av.container.InputContainer, stream: VideoStream, *, seconds: float) -> VideoFrame:
    """Return the first frame at or after `seconds`, else the last one there is."""
    assert stream.time_base is not None
    target = (stream.start_time or 0) + int(seconds / stream.time_base)
    container.seek(target, stream=stream)
    latest = None
    for frame in container.decode(stream):
        latest = frame
        if frame.pts is not None and frame.pts >= target:
            break
    if latest is None:
        raise Refused(CUT_OFF)
    return latest
