"""/v1/videos: jobs in the shape of the OpenAI Videos API, for its stock SDK."""

from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.api import (
    content,
    describing,
    listing,
    openai_orders,
    openai_shapes,
    orders,
    placing,
    retrying,
    showing,
)
from app.api.deps import Creator, HouseDep, Reader, Writer
from app.api.jobs import delete_job
from app.api.openai_shapes import DeletedVideo, VideoObject, VideoPage
from app.api.replies import reply
from app.api.schemas import RemixRequest, checked
from app.catalogue.catalogue import Catalogue
from app.db import jobs
from app.db.engine import Connection
from app.domain.errors import Conflict, InvalidRequest
from app.domain.job import Job
from app.domain.views import JobView

router = APIRouter(prefix="/v1/videos", tags=["videos (OpenAI)"])


class OpenAI:
    """Jobs as this API tells of them."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._models = catalogue.models

    def body(self, job: Job, view: JobView) -> str:
        return self.video(job, view).model_dump_json()

    def video(self, job: Job, view: JobView) -> VideoObject:
        return openai_shapes.video_object(job, view, model=self._models.get(job.model))

    def location(self, job_id: str) -> str:
        return f"/v1/videos/{openai_shapes.video_id(job_id)}"

    def first(self, body: str, *, status: int | None, headers: dict[str, str]) -> Response:
        return reply(body, headers=headers | _ask_again(showing.ASK_AGAIN_SECONDS))

    def latest(self, job: Job, view: JobView, *, status: int | None, headers: dict[str, str]) -> Response:
        return reply(self.body(job, view), headers=headers | _ask_again(showing.ask_again_seconds(view)))


def _ask_again(seconds: int | None) -> dict[str, str]:
    return {} if seconds is None else {"openai-poll-after-ms": str(1000 * seconds)}


@router.post(
    "",
    summary="Make a video",
    response_model=VideoObject,
    responses=describing.answers(400, 401, 403, 410, 413, 415, 422, 429, 503),
    openapi_extra=describing.VIDEO_BODY | describing.IDEMPOTENCY_KEY,
)
async def create_video(request: Request, caller: Creator, house: HouseDep) -> Response:
    """Queue a job. `size` and `seconds` become the model's own parameters; further fields are parameters as well."""
    face = OpenAI(house.catalogue)
    with openai_shapes.flat_params():
        return await placing.create(request, caller=caller, house=house, face=face, read=openai_orders.order_of)


@router.get("", summary="List videos", response_model=VideoPage, responses=describing.answers(400, 401, 403, 429, 503))
async def list_videos(
    *,
    caller: Reader,
    house: HouseDep,
    limit: listing.Limit = 20,
    after: listing.After = None,
    order: Literal["asc", "desc"] = "desc",
) -> Response:
    """The project's jobs, newest first."""
    last_seen = None if after is None else openai_shapes.cursor(after)
    face = OpenAI(house.catalogue)

    def show(conn: Connection) -> str:
        page = jobs.page(conn, owner=caller.owner, filter=jobs.Filter(), limit=limit, after=last_seen, order=order)
        views = showing.show_all(conn, page.jobs, house=house, caller=caller)
        videos = [face.video(job, view) for job, view in zip(page.jobs, views, strict=True)]
        return VideoPage(**listing.page(videos, has_more=page.has_more)).model_dump_json()

    return reply(await house.db.read(show))


@router.get(
    "/{video_id}",
    summary="Read a video",
    response_model=VideoObject,
    responses=describing.answers(400, 401, 403, 404, 429, 503),
)
async def read_video(video_id: str, caller: Reader, house: HouseDep) -> Response:
    """The job as it stands. While it is unfinished, `openai-poll-after-ms` says when to ask again."""

    def look(conn: Connection) -> tuple[Job, JobView]:
        with openai_shapes.asked_for(video_id) as job_id:
            job = jobs.get(conn, job_id, owner=caller.owner)
        return job, showing.show(conn, job, house=house, caller=caller)

    job, view = await house.db.read(look)
    return OpenAI(house.catalogue).latest(job, view, status=None, headers={})


@router.get(
    "/{video_id}/content",
    summary="Download a video or its thumbnail",
    response_class=Response,
    responses=describing.answers(400, 401, 403, 404, 416, 429, 503) | describing.CONTENT,
)
async def read_video_content(
    *,
    video_id: str,
    request: Request,
    caller: Reader,
    house: HouseDep,
    variant: Annotated[Literal["video", "thumbnail"], Query()] = "video",
) -> Response:
    """The bytes, whole or a single range of them. Before they are there: 400, for the SDK would repeat a 409."""
    kept: content.Variant = "video" if variant == "video" else "poster"
    try:
        with openai_shapes.asked_for(video_id) as job_id:
            return await content.read_content(
                job_id=job_id, request=request, caller=caller, signed=None, house=house, variant=kept, download=False
            )
    except Conflict as error:
        raise InvalidRequest(
            "The video is not ready. Ask again once its status is completed.", code=error.code
        ) from None


@router.delete(
    "/{video_id}",
    summary="Delete a finished video",
    response_model=DeletedVideo,
    responses=describing.answers(400, 401, 403, 404, 409, 429, 503),
)
async def delete_video(video_id: str, caller: Writer, house: HouseDep) -> Response:
    """Forget a finished job's video, input and metadata for good. What it cost stays in the books."""
    with openai_shapes.asked_for(video_id) as job_id:
        await delete_job(job_id, caller, house)
    return reply(DeletedVideo(id=video_id).model_dump_json())


@router.post(
    "/{video_id}/remix",
    summary="Make a video of the same input with another prompt",
    response_model=VideoObject,
    responses=describing.answers(400, 401, 403, 404, 409, 410, 413, 415, 422, 429, 503),
    openapi_extra=describing.REMIX_BODY | describing.IDEMPOTENCY_KEY,
)
async def remix_video(video_id: str, request: Request, caller: Creator, house: HouseDep) -> Response:
    """Queue a job with the video's input and a new prompt. It is bought and charged like any other."""
    job_id = openai_shapes.job_id(video_id)

    async def prepare(body: dict[str, Any]) -> placing.Insert:
        wish = checked(body, schema=RemixRequest, strict=True)
        orders.require_storable_size({"prompt": wish.prompt})
        return partial(retrying.remix, job_id=job_id, prompt=wish.prompt, terms=await retrying.terms(house, caller))

    face = OpenAI(house.catalogue)
    with openai_shapes.asked_for(video_id), openai_shapes.flat_params():
        return await placing.create_again(request, caller=caller, house=house, face=face, prepare=prepare)


_UNSUPPORTED: dict[str, Any] = {"include_in_schema": False, "response_model": None}


@router.post("/edits", **_UNSUPPORTED)
@router.post("/extensions", **_UNSUPPORTED)
@router.post("/characters", **_UNSUPPORTED)
@router.get("/characters/{character_id}", **_UNSUPPORTED)
async def refuse(request: Request, caller: Reader) -> None:
    """What this API has and no model here can do."""
    raise InvalidRequest(
        f"{request.url.path} is not supported here. Make a new video with POST /v1/videos, or remix one.",
        code="unsupported_operation",
    )
