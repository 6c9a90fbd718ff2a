"""Small real videos, encoded once per run."""

from collections.abc import Callable
from pathlib import Path

import av
import pytest
from PIL import Image

Film = Callable[..., bytes]


def encode(
    path: Path,
    *,
    size: tuple[int, int] = (320, 240),
    frames: int = 48,
    black: int = 0,
    movflags: str = "faststart",
    rotation: int = 0,
) -> bytes:
    """Return an H.264 MP4 at 24 frames a second, a keyframe every 12; the first `black` frames are black."""
    options = {"movflags": movflags} if movflags else {}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        stream = container.add_stream("libx264", rate=24, options={"preset": "ultrafast", "g": "12", "bf": "2"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(frames):
            colour = (0, 0, 0) if number < black else (200, 5 * number % 255, 90)
            image = Image.new("RGB", size, colour)
            image.paste((250, 250, 250), (0, 0, 8, 8)) if number >= black else None
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())
    return path.read_bytes()


@pytest.fixture(scope="session")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two seconds, 320 x 240, the index in front."""
    return encode(tmp_path_factory.mktemp("film") / "plain.mp4")


@pytest.fixture
def film(tmp_path: Path) -> Film:
    """Encode another one."""

    def make(**wishes: object) -> bytes:
        return encode(tmp_path / "made.mp4", **wishes)

    return make
