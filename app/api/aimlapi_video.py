"""/v2: the AI/ML API's two calls, so that programs written for it need only another host and key."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.api import aimlapi_shapes, describing, forms, placing, showing, wire
from app.api.aimlapi_shapes import Generation
from app.api.deps import Creator, HouseDep, Reader
from app.api.multipart import Form
from app.api.offering import Offer
from app.api.orders import Order
from app.api.replies import reply
from app.api.schemas import JobRequest, refuse_crowds
from app.catalogue.facts import PATHS, UNIVERSAL_PATH
from app.db import jobs
from app.db.engine import Connection
from app.domain.errors import InvalidRequest, UnsupportedMedia
from app.domain.job import Job
from app.domain.views import JobView

_CONTROL = (forms.CONTROL_FIELDS | {"metadata"}) - {"model"}
router = APIRouter(tags=["generations (AI/ML API)"])


class Aimlapi:
    """Jobs as this API tells of them."""

    def body(self, job: Job, view: JobView) -> str:
        return aimlapi_shapes.generation(job, view).model_dump_json()

    def location(self, job_id: str) -> str:
        return f"{UNIVERSAL_PATH}?generation_id={job_id}"

    def first(self, body: str, *, status: int | None, headers: dict[str, str]) -> Response:
        return reply(body, status=status or 201, headers=headers)

    def latest(self, job: Job, view: JobView, *, status: int | None, headers: dict[str, str]) -> Response:
        return reply(self.body(job, view), status=status or 201, headers=headers)


FACE = Aimlapi()


async def create_generation(request: Request, caller: Creator, house: HouseDep) -> Response:
    """Queue a job. All of the body but `model` are the model's parameters; numbers may come as text."""
    return await placing.create(request, caller=caller, house=house, face=FACE, read=_order_of)


async def read_generation(
    caller: Reader, house: HouseDep, generation_id: Annotated[str, Query(max_length=255)]
) -> Response:
    """The job as it stands: `queued`, `generating`, `completed` with a video, or `error`."""

    def look(conn: Connection) -> tuple[Job, JobView]:
        job = jobs.get(conn, generation_id, owner=caller.owner)
        return job, showing.show(conn, job, house=house, caller=caller)

    job, view = await house.db.read(look)
    return FACE.latest(job, view, status=200, headers=showing.retry_after(view))


def _order_of(body: dict[str, Any] | Form, offer: Offer) -> Order:
    if isinstance(body, Form):
        raise UnsupportedMedia("Send the body as application/json.")
    given = dict(body)
    model_id = given.pop("model", None)
    try:
        refuse_crowds(body)
        if not isinstance(model_id, str):
            raise InvalidRequest("'model' must name a model.", param="model")
        _refuse_control(given)
        model = offer.get(model_id[: wire.LONGEST_NAME])
        return Order(JobRequest(model=model.id, input=given), model, model.check(given))
    except InvalidRequest as error:
        error.message = f"Body validation error: {error.message}"
        raise


def _refuse_control(given: dict[str, Any]) -> None:
    """Refuse our own fields: passed on as parameters they would do nothing, and a caller believe in a cap."""
    if found := next((name for name in given if name in _CONTROL), None):
        raise InvalidRequest(
            f"{found!r} is no parameter of a model and is not taken here. Make the job with POST /v1/jobs to set it.",
            code="unknown_parameter",
            param=found,
        )


def _serve(path: str, *, shown: bool) -> None:
    """Add both calls. The vendors' paths do the same as the universal one, which alone stands in the document."""
    router.post(
        path,
        status_code=201,
        summary="Submit a generation",
        response_model=Generation,
        responses=describing.foreign_answers(400, 401, 403, 410, 413, 415, 422, 429, 503),
        openapi_extra=describing.GENERATION_BODY | describing.IDEMPOTENCY_KEY,
        include_in_schema=shown,
    )(create_generation)
    router.get(
        path,
        summary="Fetch a generation",
        response_model=Generation,
        responses=describing.foreign_answers(400, 401, 403, 404, 429, 503),
        include_in_schema=shown,
    )(read_generation)


for _path in PATHS:
    _serve(_path, shown=_path == UNIVERSAL_PATH)
