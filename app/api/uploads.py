"""Images that come within a job: decoded and checked first, stored next, recorded in the job's own transaction."""

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import structlog

from app.api.callers import Caller
from app.api.deps import House
from app.api.orders import Order
from app.catalogue.catalogue import MediaKind
from app.db import files
from app.db.engine import Connection
from app.domain.errors import InvalidRequest, MediaError, NotAnImage, StorageFailed
from app.domain.ids import new_id
from app.domain.job import File
from app.media import images
from app.media.images import CheckedImage
from app.media.store import Store

log = structlog.get_logger(__name__)
LONGEST_LINK = 8192
MOST_IMAGES = 16
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
_SUFFIXES = {images.JPEG: "jpg", images.PNG: "png"}


@dataclass(frozen=True, slots=True)
class Upload:
    """A checked image and the id under which it will be kept."""

    id: str
    image: CheckedImage

    @property
    def storage_key(self) -> str:
        return f"{files.INLINE}{self.id}.{_SUFFIXES[self.image.content_type]}"

    def row(self, caller: Caller, *, now: datetime, expires_at: datetime) -> File:
        return File(
            id=self.id,
            project_id=caller.key.project_id,
            subject=caller.key.subject,
            content_type=self.image.content_type,
            size_bytes=len(self.image.data),
            width=self.image.width,
            height=self.image.height,
            sha256=self.image.sha256,
            storage_key=self.storage_key,
            created_at=now,
            expires_at=expires_at,
        )


@dataclass(slots=True)
class Intake:
    """Takes the media of one order in: `input` is what the job will show, `uploads` what is to be stored for it."""

    house: House
    attached: Mapping[str, bytes]
    input: dict[str, Any] = field(default_factory=dict)
    uploads: list[Upload] = field(default_factory=list)
    file_params: dict[str, str] = field(default_factory=dict)
    """The files that were named by id, and the field that named each."""

    async def take(self, order: Order) -> None:
        """Check every media parameter; raise InvalidRequest naming the field. Nothing is stored yet."""
        self.input = dict(order.input)
        for name, kind in order.model.media_parameters.items():
            match order.input.get(name):
                case str(value):
                    self.input[name] = await self._taken(value, kind=kind, param=f"input.{name}")
                case list(values):
                    self.input[name] = [
                        await self._taken(value, kind=kind, param=f"input.{name}.{index}")
                        for index, value in enumerate(values)
                    ]

    async def _taken(self, value: str, *, kind: MediaKind, param: str) -> str:
        inline = value in self.attached or value[:5].lower() == "data:"
        by_id = value.startswith("file_")
        if not inline and not by_id:
            require_link(value, param=param)
            return value
        if kind != "image":
            raise InvalidRequest(
                f"{param!r} takes a link to {kind}; only images can be uploaded.", code="upload_not_taken", param=param
            )
        if by_id:
            self.file_params[value] = param
            return value
        if len(self.uploads) == MOST_IMAGES:
            raise InvalidRequest(f"A job takes at most {MOST_IMAGES} images.", code="too_many_images", param=param)
        upload = Upload(new_id("file"), await self._checked(value, param=param))
        self.uploads.append(upload)
        return upload.id

    async def _checked(self, value: str, *, param: str) -> CheckedImage:
        cap = self.house.max_image_bytes
        try:
            data = self.attached.get(value)
            if data is None:
                data = await asyncio.to_thread(images.decode_data_uri, value, max_bytes=cap)
            if len(data) > cap:
                raise NotAnImage(f"The image is larger than {cap} bytes.")
            return await images.normalise(
                data, max_pixels=self.house.max_image_pixels, max_side=self.house.max_image_side
            )
        except NotAnImage as error:
            raise InvalidRequest(str(error), code="invalid_image", param=param) from None
        except StorageFailed:
            raise
        except MediaError as error:
            # The decoder died over it. Most likely the file is to blame; a machine out of memory says so in the log.
            log.warning("image_check_failed", reason=str(error))
            message = "The image could not be decoded. Save it anew as a JPEG and send that."
            raise InvalidRequest(message, code="image_not_decodable", param=param) from None


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


async def store_all(uploads: list[Upload], *, store: Store) -> None:
    """Store the bytes of all, or of none."""
    try:
        for upload in uploads:
            await store.put_bytes(upload.storage_key, upload.image.data, content_type=upload.image.content_type)
    except StorageFailed:
        await discard([upload.storage_key for upload in uploads], store=store)
        raise


async def discard(storage_keys: list[str], *, store: Store) -> bool:
    """Delete stored bytes; what can't be deleted now is noted. Tell whether all are gone."""
    gone = True
    for key in storage_keys:
        try:
            await store.delete(key)
        except StorageFailed as error:
            gone = False
            log.error("object_not_deleted", key=key, reason=str(error))
    return gone


def record(conn: Connection, intake: Intake, *, caller: Caller, now: datetime) -> None:
    """Write the rows of what was stored and keep the files named by id; raise InvalidRequest for a foreign one."""
    until = now + intake.house.file_retention
    for upload in intake.uploads:
        files.insert(conn, upload.row(caller, now=now, expires_at=until))
    _refuse_missing(keep(conn, list(intake.file_params), caller=caller, until=until), intake=intake)


def require_known(conn: Connection, intake: Intake, *, caller: Caller) -> None:
    """Raise InvalidRequest for a file named by id that is not the caller's. Nothing is kept longer for it."""
    owner, named = caller.owner, list(intake.file_params)
    found = files.get_many(conn, named, project_id=owner.project_id, subject=owner.subject) if named else {}
    _refuse_missing([id_ for id_ in named if id_ not in found], intake=intake)


def _refuse_missing(missing: list[str], *, intake: Intake) -> None:
    if missing:
        param = intake.file_params[missing[0]]
        message = f"There is no file {missing[0][:80]!r} here: it has expired, or belongs to another project."
        raise InvalidRequest(message, code="file_not_found", param=param)


def keep(conn: Connection, ids: list[str], *, caller: Caller, until: datetime) -> list[str]:
    """Keep the caller's files at least `until`; return those that are not there."""
    if not ids:
        return []
    owner = caller.owner
    found = files.get_many(conn, ids, project_id=owner.project_id, subject=owner.subject, lock=True)
    files.keep_until(conn, list(found), until=until)
    return [id_ for id_ in ids if id_ not in found]
