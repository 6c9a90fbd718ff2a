"""/v1/files: pictures, videos and sounds that are uploaded by themselves, to be named in jobs."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.api import asking, content, describing, fingerprints, receiving, uploads
from app.api.callers import Caller
from app.api.content import Stored
from app.api.deps import Creator, House, HouseDep, Reader, Writer, require_open, require_working
from app.api.intake import SUFFIXES, Upload, faults_named
from app.api.replies import reply
from app.api.schemas import FileView
from app.db import access, acts, creations, files
from app.db.creations import Asked, Creation
from app.db.engine import Connection
from app.domain.errors import InvalidRequest
from app.domain.ids import new_id
from app.domain.job import File
from app.media import clips, images
from app.media.clips import CheckedClip
from app.media.images import CheckedImage
from app.media.source import Source, look

router = APIRouter(prefix="/v1/files", tags=["files"])
INERT = {"Content-Security-Policy": "default-src 'none'; sandbox"}
"""Were it ever shown as a page of its own, it could do nothing there."""


@router.post(
    "",
    status_code=201,
    summary="Upload a file",
    response_model=FileView,
    responses=describing.answers(400, 401, 403, 410, 413, 415, 422, 503) | describing.made("file"),
    openapi_extra=describing.FILE_BODY | describing.IDEMPOTENCY_KEY,
)
async def upload_file(request: Request, caller: Creator, house: HouseDep) -> Response:
    """Keep an image, a video or a sound, so that jobs can name it by its id. What it is, decoding tells.

    Images are written anew from their pixels: upright, without metadata, and scaled down where a side is longer than
    any model takes; `scaled_from` then tells the size before.
    """
    key = asking.idempotency_key(request)
    cap = max(house.max_image_bytes, house.max_clip_bytes, house.max_sound_bytes)
    async with receiving.received(request, cap=cap, spool=house.spool) as received:
        wanted = fingerprints.of_upload(received.sha256)
        asked = asking.read(request, wanted, idempotency_key=key, caller=caller)
        if known := await asking.known(asked, house=house):
            return asking.answered_again(known, asked, collection=router.prefix)
        upload = Upload(new_id("file"), await _checked(received.path, house=house), folder=files.UPLOADED)
        await uploads.store_all([upload], store=house.store)
    made = await uploads.committed(
        partial(_record, upload=upload, asked=asked, caller=caller, house=house),
        upload=upload,
        house=house,
        by=caller.actor,
    )
    if isinstance(made, Creation):
        return asking.answered_again(made, asked, collection=router.prefix)
    return reply(made, status=201, headers={"Location": f"{router.prefix}/{upload.id}"})


async def _checked(source: Source, *, house: House) -> CheckedImage | CheckedClip:
    """Decode what came; raise InvalidRequest, in words for people, for what is none of what we take."""
    head, size = await look(source)
    if images.sniff(head) is not None:
        if size > house.max_image_bytes:
            message = f"The image is larger than {house.max_image_bytes} bytes."
            raise InvalidRequest(message, code="invalid_image", param=receiving.PART)
        with faults_named("image", param=receiving.PART):
            return await images.normalise(source, max_pixels=house.max_image_pixels, max_side=house.max_image_side)
    container = clips.sniff(head)
    if container is None:
        takes = f"send a JPEG, PNG or WebP image, an {clips.TAKEN['video']}, or an {clips.TAKEN['audio']}"
        message = f"This is {images.name_of(head)}; {takes}."
        raise InvalidRequest(message, code="invalid_file", param=receiving.PART)
    caps: dict[clips.ClipKind, int] = {"video": house.max_clip_bytes, "audio": house.max_sound_bytes}
    with faults_named("audio" if container.video is None else "video", param=receiving.PART):
        return await clips.check_either(source, max_bytes=caps, max_pixels=house.max_image_pixels)


def _record(conn: Connection, *, upload: Upload, asked: Asked, caller: Caller, house: House) -> str | Creation:
    """Write the file's row and what it was asked for with; return the answer, or what the key stood for already."""
    require_open(is_archived=access.get_project(conn, caller.key.project_id).archived_at is not None)
    now = house.db.now(conn)
    require_working(conn, caller, now=now)
    file = upload.row(caller, now=now, expires_at=now + house.file_retention)
    answer = _view(file).model_dump_json()
    if asked.idempotency_key is not None:
        known = creations.remember(conn, asked, made_id=file.id, answer=answer, now=now)
        if known is not None:
            return known
    files.insert(conn, file)
    acts.note(conn, "file.uploaded", target=file.id, project_id=file.project_id, now=now)
    return answer


@router.get(
    "/{file_id}",
    summary="Read what is known of a file",
    response_model=FileView,
    responses=describing.answers(400, 401, 403, 404, 503),
)
async def read_file(file_id: str, caller: Reader, house: HouseDep) -> Response:
    """Also one that came within a job. `expires_at` moves on while jobs use it."""
    file = await _found(file_id, caller=caller, house=house)
    return reply(_view(file).model_dump_json())


_CONTENT: dict[str, Any] = {
    "responses": describing.answers(400, 401, 403, 404, 416, 503) | describing.FILE_CONTENT,
    "response_class": Response,
}


@router.head("/{file_id}/content", summary="Look at a file's headers", operation_id="head_file", **_CONTENT)
@router.get("/{file_id}/content", summary="Download a file", operation_id="read_file_content", **_CONTENT)
async def read_file_content(
    *,
    file_id: str,
    request: Request,
    caller: Reader,
    house: HouseDep,
    download: Annotated[bool, Query(description="Ask the browser to save the file.")] = False,
) -> Response:
    """The bytes that jobs send upstream, whole or a single range of them."""
    file = await _found(file_id, caller=caller, house=house)
    suffix = SUFFIXES.get(file.content_type)
    shown = file.content_type if suffix else "application/octet-stream"
    stored = Stored(file.storage_key, file.sha256, shown, f"{file.id}.{suffix or 'bin'}")
    response = await content.deliver(
        request, stored, download=download or suffix is None, link_seconds=None, house=house
    )
    response.headers.update(INERT)
    return response


@router.delete(
    "/{file_id}",
    status_code=204,
    summary="Delete a file",
    responses=describing.answers(400, 401, 403, 404, 409, 503),
)
async def delete_file(file_id: str, caller: Writer, house: HouseDep) -> Response:
    """Forget a file for good. While a job that has not finished uses it: 409."""

    def withdraw(conn: Connection) -> File:
        now = house.db.now(conn)
        file = files.withdraw(conn, file_id, owner=caller.owner, now=now)
        acts.note(conn, "file.deleted", target=file.id, project_id=file.project_id, now=now)
        return file

    file = await house.db.write(withdraw, by=caller.actor)
    # From here on nobody can use it. With the storage away the bytes go later: the sweep finds them by their row.
    if await uploads.discard([file.storage_key], store=house.store):
        await house.db.write(lambda conn: files.delete(conn, [file.id]))
    return Response(status_code=204)


async def _found(file_id: str, *, caller: Caller, house: House) -> File:
    def find(conn: Connection) -> File:
        return files.get(conn, file_id, owner=caller.owner, now=house.db.now(conn))

    return await house.db.read(find)


def _view(file: File) -> FileView:
    return FileView.model_validate(file, from_attributes=True)
