"""/v1/admin/projects: who owns jobs, and what they may use. Needs a key with the scope `admin`."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.api import asking, describing, listing, noting, offering, wire
from app.api.admin_views import (
    ArchivedProject,
    ProjectLimits,
    ProjectList,
    ProjectRequest,
    ProjectView,
    project_view,
)
from app.api.callers import Caller
from app.api.deps import Admin, House, HouseDep
from app.api.offering import Offer
from app.api.replies import reply
from app.api.schemas import checked
from app.db import access, creations, ledger, revoking, usage
from app.db.access import Limit, Project
from app.db.creations import Asked
from app.db.engine import Connection
from app.domain.errors import Conflict
from app.domain.money import usd_to_micros

router = APIRouter(prefix="/v1/admin/projects", tags=["admin"])


@router.get(
    "",
    summary="List projects",
    response_model=ProjectList,
    responses=describing.answers(400, 401, 403, 503),
)
async def list_projects(
    *,
    caller: Admin,
    house: HouseDep,
    archived: Annotated[
        bool | None, Query(description="Only the archived ones, or only the others; by default both.")
    ] = None,
    limit: listing.Limit = 20,
    after: listing.After = None,
) -> ProjectList:
    """Every project with its limits and what this month has come to, newest first."""

    def show(conn: Connection) -> ProjectList:
        found, has_more = access.page_projects(conn, archived=archived, limit=limit, after=after)
        return ProjectList(**listing.page(_views(conn, found, house=house), has_more=has_more))

    return await house.db.read(show)


@router.post(
    "",
    status_code=201,
    summary="Make a project",
    response_model=ProjectView,
    responses=describing.answers(400, 401, 403, 409, 410, 413, 415, 422, 503) | describing.made("project"),
    openapi_extra=describing.body(ProjectRequest, {"name": "film", "monthly_budget_usd": 250}, required=True)
    | describing.IDEMPOTENCY_KEY,
)
async def create_project(request: Request, caller: Admin, house: HouseDep) -> Response:
    """Make a project, without a key yet. Names are unique, also among archived projects."""
    key = asking.idempotency_key(request)
    body = await wire.parse_optional(request, cap=house.max_body_bytes)
    asked = asking.read(request, body.fingerprint, idempotency_key=key, caller=caller)
    wish = checked(body.content, schema=ProjectRequest, strict=True)
    if known := await asking.known(asked, house=house):
        return asking.answered_again(known, asked, collection=router.prefix)
    limits = _limits(wish, await offering.offer(house))
    creating = partial(_create, name=wish.name, limits=limits, asked=asked, caller=caller, house=house)
    try:
        project_id, answer = await house.db.write(creating, by=caller.actor)
    except Conflict:
        # The name may be taken by this very request, sent twice at the same moment.
        if known := await asking.known(asked, house=house):
            return asking.answered_again(known, asked, collection=router.prefix)
        raise
    return reply(answer, status=201, headers={"Location": f"{router.prefix}/{project_id}"})


def _create(
    conn: Connection, *, name: str, limits: dict[str, Limit], asked: Asked, caller: Caller, house: House
) -> tuple[str, str]:
    now = house.db.now(conn)
    project = access.create_project(conn, name, now=now, **limits)
    answer = _views(conn, [project], house=house)[0].model_dump_json()
    if asked.idempotency_key is not None and (
        known := creations.remember(conn, asked, made_id=project.id, answer=answer, now=now)
    ):
        asking.require_same(known, asked)
        raise AssertionError("the same request would have had the same name")
    noting.note(conn, "project.created", project.name, caller=caller, house=house, project_id=project.id, data=limits)
    return project.id, answer


@router.get(
    "/{project_id}",
    summary="Read a project",
    response_model=ProjectView,
    responses=describing.answers(400, 401, 403, 404, 503),
)
async def read_project(project_id: str, caller: Admin, house: HouseDep) -> ProjectView:
    """Its limits and what this month has come to."""
    return await house.db.read(lambda conn: _views(conn, [access.get_project(conn, project_id)], house=house)[0])


@router.patch(
    "/{project_id}",
    summary="Change a project's limits",
    response_model=ProjectView,
    responses=describing.answers(400, 401, 403, 404, 413, 415, 503),
    openapi_extra=describing.body(ProjectLimits, {"monthly_budget_usd": 400, "models": None}),
)
async def limit_project(project_id: str, request: Request, caller: Admin, house: HouseDep) -> ProjectView:
    """What is left out stays; null lifts a limit. Jobs that are made already stay too, whatever they reserve or use."""
    body = await wire.parse_optional(request, cap=house.max_body_bytes)
    limits = _limits(checked(body.content, schema=ProjectLimits, strict=True), await offering.offer(house))

    def change(conn: Connection) -> ProjectView:
        project = access.limit_project(conn, access.get_project(conn, project_id).name, **limits)
        if limits:
            noting.note(
                conn, "project.limited", project.name, caller=caller, house=house, project_id=project.id, data=limits
            )
        return _views(conn, [project], house=house)[0]

    return await house.db.write(change, by=caller.actor)


@router.post(
    "/{project_id}/archive",
    summary="Archive a project",
    response_model=ArchivedProject,
    responses=describing.answers(400, 401, 403, 404, 503),
)
async def archive_project(project_id: str, caller: Admin, house: HouseDep) -> ArchivedProject:
    """Let it make no more jobs, for good, and cancel those that are queued. What was bought is finished."""

    def archive(conn: Connection) -> ProjectView:
        now = house.db.now(conn)
        project = access.archive_project(conn, access.get_project(conn, project_id).name, now=now)
        if project.archived_at == now:
            noting.note(conn, "project.archived", project.name, caller=caller, house=house, project_id=project.id)
        return _views(conn, [project], house=house)[0]

    view = await house.db.write(archive, by=caller.actor)
    canceled = await cancel_unsent(house, caller, project_id=project_id, reason="project_archived")
    return ArchivedProject(**view.model_dump(), canceled_jobs=canceled)


async def cancel_unsent(
    house: House, caller: Caller, *, project_id: str, key_id: str | None = None, reason: str
) -> int:
    """Cancel what a project, or one key of it, has queued; return how many."""
    canceled, done = 0, revoking.AT_ONCE

    def cancel(conn: Connection) -> int:
        now = house.db.now(conn)
        return revoking.cancel_unsent(
            conn, project_id=project_id, key_id=key_id, reason=reason, now=now, limit=revoking.AT_ONCE
        )

    while done >= revoking.AT_ONCE:
        done = await house.db.write(cancel, by=caller.actor)
        canceled += done
    return canceled


def _limits(wish: ProjectLimits, offer: Offer) -> dict[str, Limit]:
    """Return the limits that were named, by their columns; raise InvalidRequest for a model that there is not."""
    named: dict[str, Any] = wish.model_dump(include=wish.model_fields_set & ProjectLimits.model_fields.keys())
    if "monthly_budget_usd" in named:
        usd = named.pop("monthly_budget_usd")
        named["monthly_budget_micros"] = None if usd is None else usd_to_micros(round(usd, 6))
    if named.get("models") is not None:
        named["models"] = sorted(set(offering.ids_of(named["models"], offer)))
    return named


def _views(conn: Connection, found: list[Project], *, house: House) -> list[ProjectView]:
    now = house.db.now(conn)
    made = usage.jobs_of_month(conn, [project.id for project in found], now=now)
    return [
        project_view(project, ledger.read_month(conn, project.id, now), jobs=made.get(project.id, 0))
        for project in found
    ]
