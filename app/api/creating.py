"""POST /v1/jobs and POST /v1/jobs/{id}/retry: the ways to a new job."""

from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api import describing, orders, placing, retrying, showing
from app.api.deps import Creator, HouseDep
from app.api.schemas import RetryRequest, checked
from app.domain.job import Job
from app.domain.views import JobView

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


class Native:
    """Jobs as `/v1/jobs` tells of them."""

    def body(self, job: Job, view: JobView) -> str:
        return view.model_dump_json()

    def location(self, job_id: str) -> str:
        return f"/v1/jobs/{job_id}"

    def first(self, body: str, *, status: int | None, headers: dict[str, str]) -> Response:
        return showing.first_view(body, status=status or 201, headers=headers)

    def latest(self, job: Job, view: JobView, *, status: int | None, headers: dict[str, str]) -> Response:
        return showing.answer(view, job, status=status or 201, headers=headers)


NATIVE = Native()


@router.post(
    "",
    status_code=201,
    summary="Make a video",
    response_model=JobView,
    responses=describing.answers(400, 401, 403, 410, 413, 415, 422, 429, 503) | describing.made("job"),
    openapi_extra=describing.JOB_BODY | describing.IDEMPOTENCY_KEY,
)
async def create_job(request: Request, caller: Creator, house: HouseDep) -> Response:
    """Queue a job. Everything is checked before anything is stored; nothing is bought before the answer.

    With `Prefer: wait=N` (1 to 60) the answer comes when the job is finished or N seconds are over.
    With `Idempotency-Key` the same request, sent again, gets the first answer again and makes no second job.
    """
    return await placing.create(request, caller=caller, house=house, face=NATIVE, read=orders.order_of)


@router.post(
    "/{job_id}/retry",
    status_code=201,
    summary="Retry a failed or canceled job",
    response_model=JobView,
    responses=describing.answers(400, 401, 403, 404, 409, 410, 413, 415, 422, 429, 503)
    | describing.made("job")
    | describing.LIVE_RETRY,
    openapi_extra=describing.RETRY_BODY | describing.IDEMPOTENCY_KEY,
)
async def retry_job(job_id: str, request: Request, caller: Creator, house: HouseDep) -> Response:
    """Make a new job of the same request. Repeated, it returns the retry that is under way (200).

    With `Idempotency-Key` the same request gets the first answer again, also once that retry has failed.
    """

    async def prepare(body: dict[str, Any]) -> placing.Insert:
        wish = checked(body, schema=RetryRequest, strict=True)
        terms = await retrying.terms(house, caller)
        return partial(retrying.retry, job_id=job_id, accept_new_charge=wish.accept_new_charge, terms=terms)

    live = partial(retrying.live_retry, job_id=job_id, caller=caller)
    return await placing.create_again(request, caller=caller, house=house, face=NATIVE, prepare=prepare, live=live)
