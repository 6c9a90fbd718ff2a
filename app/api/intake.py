"""Media that come within a request: each place that takes some is looked at, what came along is checked by decoding."""

import asyncio
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import structlog

from app.api.callers import Caller
from app.api.deps import House
from app.api.orders import Order
from app.catalogue import media
from app.catalogue.media import MediaKind, MediaPlace
from app.db import files
from app.domain.errors import InvalidRequest, MediaError, NotAClip, NotAnImage, StorageFailed
from app.domain.ids import new_id
from app.domain.job import File
from app.media import clips, images
from app.media.clips import CheckedClip
from app.media.images import CheckedImage

log = structlog.get_logger(__name__)
LONGEST_LINK = 8192
MOST_UPLOADS = 16
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
_ADVICE = {"image": "Save it anew as a JPEG", "video": "Save it anew as an MP4", "audio": "Save it anew as an MP3"}


CheckedMedia = CheckedImage | CheckedClip
SUFFIXES = {
    "image/jpeg": "jpg", "image/png": "png",
    "video/mp4": "mp4", "video/quicktime": "mov", "video/webm": "webm", "video/x-matroska": "mkv",
    "audio/mpeg": "mp3", "audio/wav": "wav", "audio/mp4": "m4a", "audio/aac": "aac", "audio/ogg": "ogg",
    "audio/flac": "flac", "audio/webm": "weba", "audio/x-matroska": "mka",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Upload:
    """A checked image, video or sound and the id under which it will be kept."""

    id: str
    media: CheckedMedia
    folder: str = files.INLINE

    @property
    def storage_key(self) -> str:
        return f"{self.folder}{self.id}.{SUFFIXES[self.media.content_type]}"

    def row(self, caller: Caller, *, now: datetime, expires_at: datetime) -> File:
        return File(
            id=self.id,
            project_id=caller.key.project_id,
            subject=caller.key.subject,
            content_type=self.media.content_type,
            size_bytes=self.media.size_bytes,
            width=self.media.width,
            height=self.media.height,
            sha256=self.media.sha256,
            storage_key=self.storage_key,
            created_at=now,
            expires_at=expires_at,
            scaled_from=self._scaled_from(),
        )

    def _scaled_from(self) -> dict[str, int] | None:
        size = self.media.scaled_from if isinstance(self.media, CheckedImage) else None
        return None if size is None else {"width": size[0], "height": size[1]}


@dataclass(slots=True)
class Intake:
    """Takes the media of one order in: `input` is what the job will show, `uploads` what is to be stored for it."""

    house: House
    attached: Mapping[str, bytes]
    input: dict[str, Any] = field(default_factory=dict)
    uploads: list[Upload] = field(default_factory=list)
    named: dict[str, list[tuple[str, MediaKind | None]]] = field(default_factory=dict)
    """The files that were named by id: the fields that named each, and the kind of media that these take."""

    async def take(self, order: Order) -> None:
        """Check every place that takes media; raise InvalidRequest naming the field. Nothing is stored yet."""
        self.input = dict(order.input)
        for place in order.model.media_in(order.input):
            taken = await self._taken(place, param=".".join(["input", *map(str, place.path)]))
            if taken is not place.value:
                self.input = media.replaced(self.input, place.path, taken)

    async def _taken(self, place: MediaPlace, *, param: str) -> str:
        value = place.value
        if value not in self.attached and value[:5].lower() != "data:":
            if value.startswith("file_"):
                self.named.setdefault(value, []).append((param, place.kind))
            else:
                require_link(value, param=param)
            return value
        if len(self.uploads) == MOST_UPLOADS:
            raise InvalidRequest(f"A job takes at most {MOST_UPLOADS} files.", code="too_many_files", param=param)
        kind = place.kind or _kind_of(value, self.attached.get(value))
        upload = Upload(new_id("file"), await self._checked(value, kind=kind, param=param))
        self.uploads.append(upload)
        return upload.id

    async def _checked(self, value: str, *, kind: MediaKind, param: str) -> CheckedMedia:
        with faults_named(kind, param=param):
            if kind == "image":
                return await self._image(value)
            return await self._clip(value, kind=kind)

    async def _image(self, value: str) -> CheckedMedia:
        cap = self.house.max_image_bytes
        data = self.attached.get(value)
        if data is None:
            data = await asyncio.to_thread(images.decode_data_uri, value, max_bytes=cap)
        if len(data) > cap:
            raise NotAnImage(f"The image is larger than {cap} bytes.")
        return await images.normalise(data, max_pixels=self.house.max_image_pixels, max_side=self.house.max_image_side)

    async def _clip(self, value: str, *, kind: clips.ClipKind) -> CheckedMedia:
        cap = self.house.max_clip_bytes if kind == "video" else self.house.max_sound_bytes
        data = self.attached.get(value)
        if data is None:
            data = await asyncio.to_thread(clips.from_data_uri, value, kind=kind, max_bytes=cap)
        return await clips.check(data, kind=kind, max_bytes=cap, max_pixels=self.house.max_image_pixels)


@contextmanager
def faults_named(kind: MediaKind, *, param: str) -> Iterator[None]:
    """Turn what decoding an upload raises into InvalidRequest."""
    try:
        yield
    except (NotAnImage, NotAClip) as error:
        raise InvalidRequest(str(error), code=f"invalid_{kind}", param=param) from None
    except StorageFailed:
        raise
    except MediaError as error:
        # The decoder died over it. Most likely the file is to blame; a machine out of memory says so in the log.
        log.warning("upload_check_failed", kind=kind, reason=str(error))
        message = f"The file could not be decoded. {_ADVICE[kind]} and send that."
        raise InvalidRequest(message, code=f"{kind}_not_decodable", param=param) from None


def _kind_of(value: str, data: bytes | None) -> MediaKind:
    """Return what came where neither schema nor name says what belongs: by its bytes, or as its data URI says."""
    if data is None:
        head = value[5:10].lower()
        return "video" if head == "video" else "audio" if head == "audio" else "image"
    container = clips.sniff(data)
    if container is None:
        return "image"
    return "audio" if container.video is None else "video"


def require_link(value: str, *, param: str) -> None:
    """Raise InvalidRequest unless `value` is a usable http(s) link. It is never fetched here: it goes upstream."""
    usable = len(value) <= LONGEST_LINK and not _UNSAFE.search(value)
    with suppress(ValueError):
        parts = urlsplit(value) if usable else None
        if parts and parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return
    raise InvalidRequest(
        f"{param!r} must be an http(s) link of at most {LONGEST_LINK} characters, a data URI or a file id.",
        code="invalid_input",
        param=param,
    )
