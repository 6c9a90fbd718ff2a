"""Small real sounds and videos in many containers."""

import io
import math
from fractions import Fraction
from functools import cache

import av
from PIL import Image

RATE = 8000


@cache
def sound(container: str = "wav", codec: str = "pcm_s16le", seconds: float = 0.2) -> bytes:
    """Return a tone."""
    written = io.BytesIO()
    with av.open(written, "w", format=container) as output:
        stream = output.add_stream(codec, rate=RATE if codec == "pcm_s16le" else 48_000)
        rate, total = stream.rate, int(stream.rate * seconds)
        for start in range(0, total, 960):
            samples = [round(8000 * math.sin(440 * 2 * math.pi * (start + n) / rate)) for n in range(960)]
            frame = av.AudioFrame(format="s16", layout="mono", samples=960)
            frame.planes[0].update(b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples))
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return written.getvalue()


@cache
def clip(container: str = "mp4", codec: str = "libx264", size: tuple[int, int] = (64, 48), frames: int = 6) -> bytes:
    """Return a moving square."""
    written = io.BytesIO()
    with av.open(written, "w", format=container) as output:
        stream = output.add_stream(codec, rate=24)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            image = Image.new("RGB", size, (200, 20 * number % 255, 90))
            output.mux(stream.encode(av.VideoFrame.from_image(image)))
        output.mux(stream.encode())
    return written.getvalue()


@cache
def talkie() -> bytes:
    """Return a picture with a tone beside it."""
    written = io.BytesIO()
    with av.open(written, "w", format="mp4") as output:
        seen = output.add_stream("libx264", rate=24)
        seen.width, seen.height, seen.pix_fmt = 64, 48, "yuv420p"
        heard = output.add_stream("aac", rate=48_000, layout="mono")
        silence = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        silence.planes[0].update(bytes(4 * 1024))
        silence.sample_rate, silence.pts, silence.time_base = 48_000, 0, Fraction(1, 48_000)
        output.mux(seen.encode(av.VideoFrame.from_image(Image.new("RGB", (64, 48)))))
        output.mux(heard.encode(silence))
        output.mux(seen.encode())
        output.mux(heard.encode(None))
    return written.getvalue()
