"""A job's video and poster, as bytes: ranges, tags, and a way in for browsers, which cannot send a key."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, BinaryIO, Literal
from urllib.parse import quote

import structlog
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response, StreamingResponse

from app.api import describing, ranges, showing
from app.api.callers import Caller
from app.api.deps import Given, House, HouseDep
from app.api.sending import FileAnswer, can_send_files
from app.api.visitors import Signature, Signed, let_in
from app.db import jobs
from app.db.engine import Connection
from app.domain.errors import Conflict, NotFound, StorageFailed
from app.domain.job import Job
from app.domain.states import ENDED_FOR_CALLERS, JobState
from app.media.store import ObjectMissing

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
Variant = Literal["video", "poster"]
ASK_AGAIN_SECONDS = 5
KEPT_BY_BROWSERS_SECONDS = 3600
LINK_SECONDS = 15 * 60
"""How long a link into the storage opens, whatever happens to the key meanwhile."""
STORAGE_SECONDS = 10.0


async def _visitor(
    *,
    job_id: str,
    request: Request,
    house: HouseDep,
    given: Given,
    signed: Signed,
    variant: Variant = "video",
) -> Caller:
    return await let_in(request, house, given, signed, job_id=job_id, use=variant)


@dataclass(frozen=True, slots=True)
class Stored:
    """One stored object of a job and how it is served."""

    key: str
    tag: str
    content_type: str
    file_name: str


_ROUTE: dict[str, Any] = {
    "responses": describing.answers(400, 401, 403, 404, 409, 416, 503) | describing.CONTENT,
    "openapi_extra": describing.SIGNED_OR_KEY,
    "response_class": Response,
}


@router.head("/{job_id}/content", summary="Look at the video's headers", operation_id="head_content", **_ROUTE)
@router.get("/{job_id}/content", summary="Download the video or its poster", operation_id="read_content", **_ROUTE)
async def read_content(
    *,
    job_id: str,
    request: Request,
    caller: Annotated[Caller, Depends(_visitor)],
    signed: Signed,
    house: HouseDep,
    variant: Variant = "video",
    download: Annotated[bool, Query(description="Ask the browser to save the file.")] = False,
) -> Response:
    """The bytes, whole or a single range of them. Opened by key, or by the signed URL that the job shows."""

    def find(conn: Connection) -> tuple[Stored, int]:
        job = jobs.get(conn, job_id, owner=caller.owner)
        expires_at, now = house.viewer(caller).expires_at(job), house.db.now(conn)
        if expires_at is not None and now >= expires_at:
            raise NotFound("The video has expired and is no longer kept.", code="expired")
        return _stored(job, variant), _link_seconds(expires_at, signed, now=now)

    stored, link_seconds = await house.db.read(find)
    return await deliver(request, stored, download=download, link_seconds=link_seconds, house=house)


async def deliver(
    request: Request, stored: Stored, *, download: bool, link_seconds: int | None, house: House
) -> Response:
    """Answer with the object, with where nginx finds it, or with a link into the storage where one may open."""
    with ExitStack() as opened:
        ours = request.method == "GET" and house.content_accel is None
        file, size = await _found(house, stored, to_send=ours and can_send_files(request))
        if file is not None:
            opened.enter_context(file)
        answer = await _answer(
            request, stored, file=file, size=size, download=download, link_seconds=link_seconds, house=house
        )
        if isinstance(answer, FileAnswer):
            opened.pop_all()  # it closes the file
        return answer


async def _answer(
    request: Request,
    stored: Stored,
    *,
    file: BinaryIO | None,
    size: int,
    download: bool,
    link_seconds: int | None,
    house: House,
) -> Response:
    headers = _headers(stored, download=download)
    if showing.unchanged(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    if house.content_accel is not None:
        del headers["Accept-Ranges"]  # nginx says so itself: it sends ranges, and would say it twice
        headers["X-Accel-Redirect"] = house.content_accel + quote(stored.key)
        return Response(headers=headers, media_type=stored.content_type)
    if request.method == "HEAD":
        return Response(headers=headers | {"Content-Length": str(size)}, media_type=stored.content_type)
    # Only we can ask the browser to save a file: a signed link says nothing but what the storage knows.
    if house.content_origin is not None and link_seconds is not None and not download:
        return await _redirected(stored, seconds=link_seconds, house=house)
    return await _sent(request, stored, file=file, headers=headers, size=size, house=house)


def _stored(job: Job, variant: Variant) -> Stored:
    """Return what is served; raise Conflict while it is not ready and NotFound if there is none."""
    if job.state is not JobState.SUCCEEDED or job.video is None:
        if job.state in ENDED_FOR_CALLERS:
            how = "has failed" if job.state is JobState.FAILED else "was canceled"
            raise NotFound(f"The job {how}: there is no video.", code="no_video")
        raise Conflict(
            "The video is not ready. Wait with GET /v1/jobs/{id}?wait=60.",
            code="video_not_ready",
            retry_after=ASK_AGAIN_SECONDS,
        )
    video = job.video
    if variant == "video":
        return Stored(video["key"], video["sha256"], video["content_type"], f"{job.id}.mp4")
    if not video.get("poster_key"):
        raise NotFound("This video has no poster.", code="no_poster")
    return Stored(video["poster_key"], f"{video['sha256']}-poster", "image/jpeg", f"{job.id}.jpg")


def _link_seconds(expires_at: datetime | None, signed: Signature | None, *, now: datetime) -> int:
    """Return how long a link into the storage may open: no longer than the content is kept, or than our own link."""
    ends = [now.timestamp() + LINK_SECONDS]
    if expires_at is not None:
        ends.append(expires_at.timestamp())
    if signed is not None:
        ends.append(signed.expires)
    return max(1, int(min(ends) - now.timestamp()))


async def _found(house: House, stored: Stored, *, to_send: bool) -> tuple[BinaryIO | None, int]:
    """Return the object's size, and its file to send where it is one; a storage that hangs is one that is away."""
    try:
        async with asyncio.timeout(STORAGE_SECONDS):
            if to_send and (opened := await house.store.open_file(stored.key)) is not None:
                return opened
            size = await house.store.size(stored.key)
    except ObjectMissing:
        size = None
    except TimeoutError:
        raise StorageFailed(f"The storage at {house.store.place} did not answer.") from None
    if size is None:
        log.error("object_missing", key=stored.key)
        raise _missing()
    return None, size


async def _redirected(stored: Stored, *, seconds: int, house: House) -> Response:
    """Answer with a link into the storage. Range and If-Range go along: there they meet the storage's own tag."""
    link = await house.store.link(stored.key, seconds=seconds)
    assert link is not None, "there is an origin, so there are links"
    return Response(status_code=302, headers={"Location": link, "Cache-Control": "private, no-store"})


def _missing() -> NotFound:
    return NotFound("The content is no longer stored.", code="content_missing")


def _headers(stored: Stored, *, download: bool) -> dict[str, str]:
    disposition = "attachment" if download else "inline"
    return {
        "ETag": f'"{stored.tag}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": f"private, max-age={KEPT_BY_BROWSERS_SECONDS}",
        "Content-Disposition": f'{disposition}; filename="{stored.file_name}"',
    }


def _range(request: Request, tag: str) -> str | None:
    """Return the Range to honour: none if If-Range names another version (a date never matches: we send none)."""
    condition = request.headers.get("if-range")
    return request.headers.get("range") if condition in (None, tag) else None


async def _sent(
    request: Request, stored: Stored, *, file: BinaryIO | None, headers: dict[str, str], size: int, house: House
) -> Response:
    span = ranges.requested(_range(request, headers["ETag"]), size=size)
    start, end = (span.start, span.end) if span else (0, size)
    headers = headers | {"Content-Length": str(end - start)}
    if span is not None:
        headers["Content-Range"] = span.content_range(size)
    said: dict[str, Any] = {
        "status_code": 206 if span else 200,
        "headers": headers,
        "media_type": stored.content_type,
    }
    if file is not None:
        return FileAnswer(file, start=start, end=end, **said)
    chunks = house.store.stream(stored.key, start=start, end=end)
    try:
        # Before the status is sent, so that a missing object is a 404 and a storage that is away a 503.
        first = await anext(chunks, b"")
    except ObjectMissing:
        raise _missing() from None
    return StreamingResponse(_with_first(first, chunks), **said)


async def _with_first(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in chunks:
        yield chunk
