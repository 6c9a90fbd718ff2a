"""`GET` of a generation, and the result it leads to: both free."""

import io
from typing import Any

from PIL import Image
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from app.sandbox.answers import CutResponse, Refused
from app.sandbox.faults import number
from app.sandbox.generations import Generation, describe
from app.sandbox.intake import invalid
from app.sandbox.mishaps import strike, strike_area
from app.sandbox.sandbox import Sandbox, file_name, of

_LONGEST_ID = 255
_CHUNK_BYTES = 1024 * 1024
_WEB_PAGE = b"<!doctype html><title>Just a moment...</title><p>Checking your browser before you continue.</p>"


async def fetch(request: Request) -> Response:
    """Answer one poll."""
    box = of(request)
    box.requests["poll"] += 1
    box.check_key(request)
    generation_id = request.query_params.get("generation_id")
    if not generation_id:
        raise invalid('"generation_id" expected string, received undefined')
    # A poll's inference id is the id it asks for; one that cannot be ours gets no header at all, as documented.
    plausible = len(generation_id) <= _LONGEST_ID and generation_id.isascii() and generation_id.isprintable()
    request.state.inference_id = generation_id if plausible else ""
    await strike_area(request, "poll")
    generation = box.store.find(generation_id)
    if generation is None or "lost" in generation.faults:
        raise _unknown(generation_id)
    await _strike_stored(request, generation)
    now = box.now
    if generation.phase(now) in ("generating", "completed") and _is_filmed(generation):
        box.studio.want(box.order_of(generation))
    video = _video(request, generation) if generation.phase(now) == "completed" else None
    report = box.config.credits_reported in ("end", "both") and "no-credits" not in generation.faults
    return JSONResponse(describe(generation, now=now, video=video, report=report))


async def _strike_stored(request: Request, generation: Generation) -> None:
    """Let the faults happen that the generation was bought with, each for its first polls."""
    troubles = [name for name in generation.faults if name.startswith("poll-") or name == "lag-404"]
    if not troubles:
        return
    poll = of(request).store.tally(f"poll:{generation.seq}")
    for name in troubles:
        if poll > number(generation.faults[name], 1):
            continue
        if name == "lag-404":
            raise _unknown(generation.id)
        await strike(request, name.removeprefix("poll-"), None)


def _unknown(generation_id: str) -> Refused:
    return Refused(404, f"Generation {generation_id[:100]!r} not found")


def _is_filmed(generation: Generation) -> bool:
    return generation.outcome == "completed" and not {"mislabelled-video", "video-404"} & generation.faults.keys()


def _video(request: Request, generation: Generation) -> dict[str, Any] | None:
    """Return the `video` block of a finished generation, or None where a fault withholds it."""
    box = of(request)
    finished_poll = (
        box.store.tally(f"finished:{generation.seq}") if {"no-url", "expired-url"} & generation.faults.keys() else 0
    )
    if "no-url" in generation.faults and finished_poll <= number(generation.faults["no-url"], float("inf")):
        return None
    expires = box.now + box.config.url_seconds
    if "expired-url" in generation.faults and finished_poll <= number(generation.faults["expired-url"], 1):
        expires = box.now - 60
    url = box.video_url(generation, str(request.base_url), expires=int(expires))
    video: dict[str, Any] = {"url": url, "content_type": "video/mp4", "file_name": file_name(generation)}
    film = box.studio.ready(box.order_of(generation)) if _is_filmed(generation) else None
    return video if film is None else video | {"file_size": film.stat().st_size}


async def download(request: Request) -> Response:
    """Serve a result to whoever holds its URL; no key is wanted, and one that comes anyway is noted as leaked."""
    box = of(request)
    box.requests["video_with_key" if "authorization" in request.headers else "video"] += 1
    generation = box.store.by_seq(request.path_params["seq"])
    name = request.path_params["name"]
    if generation is None or name != file_name(generation):
        return _storage_error(404, "NoSuchKey", "The specified key does not exist.")
    if refusal := _check_signature(box, request, f"{generation.seq}/{name}"):
        return refusal
    await strike_area(request, "video")
    if "video-404" in generation.faults:
        return _storage_error(404, "NoSuchKey", "The specified key does not exist.")
    if "mislabelled-video" in generation.faults:
        page = _picture() if generation.faults["mislabelled-video"] == "png" else _WEB_PAGE
        return Response(page, media_type="video/mp4")
    film = await box.studio.film(box.order_of(generation))
    if "truncated-video" in generation.faults and request.method == "GET":
        download_number = box.store.tally(f"download:{generation.seq}")
        if download_number <= number(generation.faults["truncated-video"], float("inf")):
            whole = film.read_bytes()
            return CutResponse(Response(whole, media_type="video/mp4"), keep=len(whole) // 2)
    response = FileResponse(film, media_type="video/mp4")
    response.chunk_size = _CHUNK_BYTES
    return response


def _check_signature(box: Sandbox, request: Request, name: str) -> Response | None:
    """Return the 403 that an object store gives for a URL that is not, or no longer, good."""
    expires = request.query_params.get("X-Expires", "")
    signed = expires.isdecimal() and request.query_params.get("X-Signature") == box.signature(name, int(expires))
    if not signed:
        return _storage_error(403, "SignatureDoesNotMatch", "The request signature does not match.")
    if box.now >= int(expires):
        return _storage_error(403, "AccessDenied", "Request has expired")
    return None


def _storage_error(status: int, code: str, message: str) -> Response:
    page = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Response(page, status_code=status, media_type="application/xml")


def _picture() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (64, 36), (200, 80, 60)).save(content, "PNG")
    return content.getvalue()
