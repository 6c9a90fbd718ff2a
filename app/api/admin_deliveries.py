"""/v1/admin/deliveries: what is sent to the webhooks of every project. Needs a key with the scope `admin`."""

from dataclasses import replace
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Query

from app.api import describing, listing, noting, webhook_views
from app.api.admin_views import FiledDelivery, FiledDeliveryList
from app.api.deps import Admin, HouseDep
from app.db import delivery_log, webhooks
from app.db.delivery_log import Filed
from app.db.engine import Connection
from app.domain.webhooks import Delivery

router = APIRouter(prefix="/v1/admin/deliveries", tags=["admin"])


@router.get(
    "",
    summary="List the deliveries of every project",
    response_model=FiledDeliveryList,
    responses=describing.answers(400, 401, 403, 503),
)
async def list_all_deliveries(
    *,
    caller: Admin,
    house: HouseDep,
    status: Annotated[Delivery | None, Query(description="Only those that stand so.")] = None,
    project_id: Annotated[str | None, Query(max_length=100, description="Only those of this project.")] = None,
    limit: listing.Limit = 20,
    after: listing.After = None,
) -> FiledDeliveryList:
    """What was or is to be sent, newest first, with each attempt; 30 days long. Of a URL only its host is shown."""

    def show(conn: Connection) -> FiledDeliveryList:
        found, has_more = delivery_log.page_of_all(conn, state=status, project_id=project_id, limit=limit, after=after)
        return FiledDeliveryList(**listing.page([_view(filed) for filed in found], has_more=has_more))

    return await house.db.read(show)


@router.post(
    "/{delivery_id}/redeliver",
    status_code=202,
    summary="Send a delivery of any project again",
    response_model=FiledDelivery,
    responses=describing.answers(400, 401, 403, 404, 409, 503),
)
async def redeliver_any(delivery_id: str, caller: Admin, house: HouseDep) -> FiledDelivery:
    """Send the same event, with the same `webhook-id`, however it went before; again with all its tries."""

    def owe(conn: Connection) -> FiledDelivery:
        found = delivery_log.filed(conn, delivery_id)
        hook = webhooks.of_any_project(conn, found.webhook_id)
        everybodys = replace(caller.key, subject=None)
        again = delivery_log.send_again(conn, everybodys, hook, delivery_id, now=house.db.now(conn))
        noting.note(conn, "delivery.sent_again", delivery_id, caller=caller, house=house, project_id=hook.project_id)
        return _view(replace(found, logged=again))

    return await house.db.write(owe, by=caller.actor)


def _view(filed: Filed) -> FiledDelivery:
    return FiledDelivery(
        **webhook_views.delivery(filed.logged).model_dump(),
        project_id=filed.project_id,
        webhook_id=filed.webhook_id,
        host=urlsplit(filed.url).hostname or "",
    )
