import io
import struct
from dataclasses import replace
from pathlib import Path

import av
import pytest
from PIL import Image, ImageStat

from app.domain.errors import NotAVideo, StorageFailed
from app.media import video
from app.media.child import DecoderCrashed
from app.media.decode_video import probe
from app.media.decoder import Refused
from app.media.video import VideoFacts, inspect

from .conftest import Film


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "video.bin"


def boxes(data: bytes) -> dict[bytes, tuple[int, int]]:
    """Return where each outer box begins and how long it is."""
    found, offset = {}, 0
    while offset < len(data):
        length = int.from_bytes(data[offset : offset + 4], "big")
        found[data[offset + 4 : offset + 8]] = (offset, length)
        offset += length
    return found


def opened(poster: bytes | None) -> Image.Image:
    assert poster is not None
    return Image.open(io.BytesIO(poster), formats=["JPEG"])


async def inspected(place: Path, data: bytes) -> VideoFacts:
    place.write_bytes(data)
    return await inspect(place)


async def refusal_of(place: Path, data: bytes) -> str:
    with pytest.raises(NotAVideo) as refused:
        await inspected(place, data)
    return str(refused.value)


async def test_inspect__tells_what_is_in_a_video(place: Path, mp4: bytes) -> None:
    facts = await inspected(place, mp4)
    assert replace(facts, poster=None) == VideoFacts(
        duration_seconds=2.0, width=320, height=240, fps=24.0, codec="h264"
    )
    poster = opened(facts.poster)
    assert poster.size == (320, 240)
    # A tenth of the way into two seconds is the fifth frame; green grows by five with each.
    red, green, blue = poster.convert("RGB").getpixel((160, 120))
    assert abs(red - 200) < 12 and abs(green - 25) < 12 and abs(blue - 90) < 12


@pytest.mark.parametrize("movflags", ["", "frag_keyframe+empty_moov"], ids=["index behind", "fragmented"])
async def test_inspect__takes_every_layout(place: Path, film: Film, movflags: str) -> None:
    facts = await inspected(place, film(movflags=movflags))
    assert (facts.duration_seconds, facts.width, facts.fps) == (2.0, 320, 24.0)
    assert facts.poster is not None


async def test_inspect__poster_is_at_most_1280_wide(place: Path, film: Film) -> None:
    facts = await inspected(place, film(size=(1920, 1080), frames=2))
    assert (facts.width, facts.height) == (1920, 1080)
    assert opened(facts.poster).size == (1280, 720)


async def test_inspect__a_turned_video_is_described_as_shown(place: Path, film: Film) -> None:
    facts = await inspected(place, film(rotation=90, frames=12))
    assert (facts.width, facts.height) == (240, 320)
    poster = opened(facts.poster).convert("L")
    assert poster.size == (240, 320)
    # The light square of the stored frame's top left; turned 90 degrees counterclockwise it is at the bottom left.
    corners = {"tl": (2, 2), "bl": (2, 317), "tr": (237, 2), "br": (237, 317)}
    assert max(corners, key=lambda corner: poster.getpixel(corners[corner])) == "bl"


async def test_inspect__poster_avoids_black_frames(place: Path, film: Film) -> None:
    facts = await inspected(place, film(black=20))
    assert ImageStat.Stat(opened(facts.poster).convert("L")).mean[0] > 50


async def test_inspect__a_wholly_black_video_has_a_black_poster(place: Path, film: Film) -> None:
    facts = await inspected(place, film(black=48))
    assert ImageStat.Stat(opened(facts.poster).convert("L")).mean[0] < 8


async def test_inspect__single_frame(place: Path, film: Film) -> None:
    facts = await inspected(place, film(frames=1))
    assert facts.duration_seconds == pytest.approx(1 / 24, abs=0.001)
    assert facts.poster is not None


@pytest.mark.parametrize("kept", [0.2, 0.9])
async def test_inspect__refuses_a_truncated_file(place: Path, mp4: bytes, kept: float) -> None:
    assert "cut off" in await refusal_of(place, mp4[: int(len(mp4) * kept)])


async def test_inspect__refuses_a_file_without_its_last_byte(place: Path, mp4: bytes) -> None:
    assert "cut off" in await refusal_of(place, mp4[:-1])


async def test_inspect__refuses_a_cut_last_box(place: Path, mp4: bytes) -> None:
    assert (await inspected(place, mp4 + struct.pack(">I4s", 40, b"free") + bytes(32))).duration_seconds == 2.0
    assert "cut off" in await refusal_of(place, mp4 + struct.pack(">I4s", 40, b"free") + bytes(31))


async def test_inspect__refuses_a_missing_index(place: Path, film: Film) -> None:
    data = film(movflags="")
    offset, _ = boxes(data)[b"moov"]
    assert "index is missing" in await refusal_of(place, data[:offset])


async def test_inspect__refuses_samples_beyond_the_end(place: Path, mp4: bytes) -> None:
    # A last box of length 0 reaches "to the end of the file", so that the boxes alone look complete.
    offset, _ = boxes(mp4)[b"mdat"]
    open_ended = mp4[:offset] + bytes(4) + mp4[offset + 4 :]
    assert (await inspected(place, open_ended)).duration_seconds == 2.0
    assert "cut off" in await refusal_of(place, open_ended[:-300])


async def test_inspect__refuses_samples_that_do_not_decode(place: Path, mp4: bytes) -> None:
    offset, length = boxes(mp4)[b"mdat"]
    noise = mp4[: offset + 8] + b"\xa5" * (length - 8) + mp4[offset + length :]
    assert await refusal_of(place, noise)


async def test_inspect__refuses_a_spoilt_last_keyframe(place: Path, mp4: bytes) -> None:
    with av.open(io.BytesIO(mp4)) as container:
        # An entry is a view of the container's memory: nothing is left of it once that is closed.
        last = [entry.pos for entry in container.streams.video[0].index_entries if entry.is_keyframe][-1]
    spoilt = bytearray(mp4)
    spoilt[last:] = b"\xa5" * (len(mp4) - last)
    assert await refusal_of(place, bytes(spoilt))


async def test_inspect__refuses_an_empty_file(place: Path) -> None:
    assert "empty" in await refusal_of(place, b"")


async def test_inspect__refuses_other_files(place: Path) -> None:
    png = io.BytesIO()
    Image.new("RGB", (8, 8)).save(png, "PNG")
    playlist = b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    others = [
        png.getvalue(),
        b"<html><body>403 Forbidden</body></html>",
        playlist,
        b"\0" * 5000,
        b"\0\0\0\x08ftyp",
    ]
    for other in others:
        assert await refusal_of(place, other)


async def test_inspect__refuses_a_still_image_in_an_mp4_box(place: Path) -> None:
    avif = io.BytesIO()
    Image.new("RGB", (64, 64), (9, 99, 200)).save(avif, "AVIF")
    assert avif.getvalue()[4:8] == b"ftyp"
    assert "not an MP4" in await refusal_of(place, avif.getvalue())


async def test_inspect__refuses_other_containers_behind_an_mp4_head(place: Path, tmp_path: Path, mp4: bytes) -> None:
    path = tmp_path / "film.mkv"
    with av.open(io.BytesIO(mp4)) as film, av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream_from_template(film.streams.video[0])
        for packet in film.demux(film.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    assert await refusal_of(place, path.read_bytes())
    offset, length = boxes(mp4)[b"ftyp"]
    head = mp4[offset : offset + length] + struct.pack(">I4s", 8, b"moov")
    matroska = path.read_bytes()
    assert await refusal_of(place, head + struct.pack(">I4s", 8 + len(matroska), b"mdat") + matroska)


async def test_inspect__refuses_sound_without_pictures(place: Path, tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.sample_rate = 44100
        frame.planes[0].update(bytes(4096))
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert "holds no video" in await refusal_of(place, path.read_bytes())


async def test_inspect__a_video_with_sound(place: Path, tmp_path: Path, mp4: bytes) -> None:
    path = tmp_path / "both.mp4"
    with av.open(io.BytesIO(mp4)) as film, av.open(str(path), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=44100, layout="mono")
        pictures = container.add_stream_from_template(film.streams.video[0])
        for number in range(86):
            frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
            frame.sample_rate, frame.pts = 44100, 1024 * number
            frame.planes[0].update(bytes(4096))
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
        for packet in film.demux(film.streams.video[0]):
            if packet.dts is not None:
                packet.stream = pictures
                container.mux(packet)
    facts = await inspected(place, path.read_bytes())
    assert (facts.width, facts.height, facts.codec) == (320, 240, "h264")
    assert facts.poster is not None


async def test_inspect__endless_tiny_boxes_are_refused(place: Path, mp4: bytes) -> None:
    _, length = boxes(mp4)[b"ftyp"]
    for broken in (0, 7):
        tail = struct.pack(">I4s", 1, b"free") + struct.pack(">Q", broken)
        assert "cut off" in await refusal_of(place, mp4[:length] + tail + bytes(100))


async def test_inspect__a_crashed_poster_costs_the_poster_only(
    place: Path, mp4: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "POSTER_WIDTH", "no width at all")
    facts = await inspected(place, mp4)
    assert facts.poster is None
    assert facts.duration_seconds == 2.0


async def test_inspect__a_crashed_probe_is_told_apart(place: Path, mp4: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "_LIMITS", replace(video._LIMITS, memory_bytes=64 << 20))
    with pytest.raises(DecoderCrashed):
        await inspected(place, mp4)


async def test_inspect__a_hostile_size_does_not_reach_the_service(place: Path, mp4: bytes) -> None:
    # The track and the sample entry claim 65535 x 65535; what is decoded is what the H.264 stream says.
    size = struct.pack(">HH", 320, 240)
    assert mp4.count(size) == 1
    facts = await inspected(place, mp4.replace(size, struct.pack(">HH", 65535, 65535)))
    assert (facts.width, facts.height) == (320, 240)


def test_probe__forces_the_demuxer_and_its_protocol(mp4: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def refuse(source: object, mode: str, **wishes: object) -> None:
        asked.update(wishes)
        raise av.error.InvalidDataError(1, "no")

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(Refused):
        probe(io.BytesIO(mp4))
    assert (asked["format"], asked["options"]) == ("mp4", {"protocol_whitelist": "file"})


async def test_inspect__missing_file_is_a_storage_failure(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed):
        await inspect(tmp_path / "missing.mp4")
