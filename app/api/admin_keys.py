"""/v1/admin/.../keys: who may come in. Needs a key with the scope `admin`, which none of them ever gets here."""

from datetime import timedelta
from functools import partial
from typing import Annotated

import structlog
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.api import asking, describing, listing, noting, wire
from app.api.admin_projects import cancel_unsent
from app.api.admin_views import CreatedKey, KeyList, KeyRequest, KeyView, shown_key
from app.api.callers import Caller
from app.api.deps import Admin, House, HouseDep
from app.api.replies import NEVER_KEPT, reply
from app.api.schemas import checked
from app.db import access
from app.db.access import Key
from app.db.creations import Asked
from app.db.engine import Connection
from app.domain.errors import PermissionDenied
from app.domain.secrets import Scope

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/v1/admin", tags=["admin"])


@router.get(
    "/projects/{project_id}/keys",
    summary="List a project's keys",
    response_model=KeyList,
    responses=describing.answers(400, 401, 403, 404, 503),
)
async def list_keys(
    *, project_id: str, caller: Admin, house: HouseDep, limit: listing.Limit = 20, after: listing.After = None
) -> KeyList:
    """Without their secrets, newest first; also those that are revoked or have expired."""

    def show(conn: Connection) -> KeyList:
        project = access.get_project(conn, project_id)
        found, has_more = access.page_keys(conn, project_id=project.id, limit=limit, after=after)
        return KeyList(**listing.page([KeyView(**shown_key(key)) for key in found], has_more=has_more))

    return await house.db.read(show)


@router.post(
    "/projects/{project_id}/keys",
    status_code=201,
    summary="Make a key",
    response_model=CreatedKey,
    responses=describing.answers(400, 401, 403, 404, 409, 410, 413, 415, 422, 503),
    openapi_extra=describing.body(KeyRequest, {"name": "backend", "expires_in_days": 90}, required=True)
    | describing.IDEMPOTENCY_KEY,
)
async def create_key(project_id: str, request: Request, caller: Admin, house: HouseDep) -> Response:
    """Make a key of the project. Its secret is shown in this answer only.

    Sent again with the same `Idempotency-Key` the request gets 409: the secret is not stored anywhere.
    """
    name = asking.idempotency_key(request)
    body = await wire.parse_optional(request, cap=house.max_body_bytes)
    asked = asking.read(request, body.fingerprint, idempotency_key=name, caller=caller)
    wish = checked(body.content, schema=KeyRequest, strict=True)
    if Scope.ADMIN in wish.scopes:
        message = "admin is never granted over HTTP: run `reelay keys create --scopes admin` on the service's host."
        raise PermissionDenied(message, code="not_grantable", param="scopes")
    making = partial(_make, project_id=project_id, wish=wish, asked=asked, caller=caller, house=house)
    key, secret = await house.db.write(making, by=caller.actor)
    log.info("key_created", key_id=key.id, project_id=key.project_id, by_key_id=caller.key.id)
    view = CreatedKey(**shown_key(key), key=secret)
    return reply(view.model_dump_json(), status=201, cache=NEVER_KEPT)


def _make(
    conn: Connection, *, project_id: str, wish: KeyRequest, asked: Asked, caller: Caller, house: House
) -> tuple[Key, str]:
    """The transaction. Raises what a replay of the request gets: the secret was shown and is nowhere to be read."""
    now = house.db.now(conn)
    key, secret = access.create_key(
        conn,
        project_id=access.get_project(conn, project_id).id,
        name=wish.name,
        scopes=frozenset(map(Scope, wish.scopes)),
        subject=wish.subject,
        expires_at=None if wish.expires_in_days is None else now + timedelta(days=wish.expires_in_days),
        requests_per_minute=wish.requests_per_minute,
        now=now,
    )
    asking.remember_secret(conn, asked, made_id=key.id, now=now)
    noting.note(
        conn, "key.created", key.id, caller=caller, house=house, project_id=key.project_id, data=access.granted(key)
    )
    return key, secret


@router.delete(
    "/keys/{key_id}",
    status_code=204,
    summary="Revoke a key",
    responses=describing.answers(400, 401, 403, 404, 503),
)
async def revoke_key(
    *,
    key_id: str,
    caller: Admin,
    house: HouseDep,
    cancel_queued: Annotated[bool, Query(description="Cancel the jobs that it, or a token of it, has queued.")] = False,
) -> Response:
    """End a key for good, with its tokens, links and streams, within five seconds. Revoked again, nothing changes."""

    def revoke(conn: Connection) -> Key:
        now = house.db.now(conn)
        key = access.revoke_key(conn, key_id, now=now, cancel_queued=cancel_queued)
        if key.revoked_at == now or cancel_queued:
            noting.note(
                conn,
                "key.revoked",
                key.id,
                caller=caller,
                house=house,
                project_id=key.project_id,
                data={"cancel_queued": cancel_queued},
            )
        return key

    key = await house.db.write(revoke, by=caller.actor)
    log.info("key_revoked", key_id=key.id, by_key_id=caller.key.id)
    if cancel_queued:
        await cancel_unsent(house, caller, project_id=key.project_id, key_id=key.id, reason="key_revoked")
    return Response(status_code=204)
