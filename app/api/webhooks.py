"""/v1/webhooks: endpoints that are told of the project's jobs, their secrets, and what was sent to them."""

from functools import partial
from typing import Any

import structlog
from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api import asking, describing, listing, noting, webhook_urls, webhook_views, wire
from app.api.callers import Caller
from app.api.deps import House, HouseDep, WebhookMaker, WebhookReader, WebhookWriter
from app.api.replies import NEVER_KEPT, reply
from app.api.schemas import checked
from app.api.webhook_views import (
    CreatedWebhook,
    DeliveryList,
    DeliveryView,
    SecretView,
    WebhookChange,
    WebhookList,
    WebhookRequest,
    WebhookView,
)
from app.db import acts, creations, delivery_log, webhooks
from app.db.creations import Asked
from app.db.engine import Connection
from app.db.webhooks import Webhook
from app.domain.errors import Conflict
from app.domain.sealing import Unsealable

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])


@router.post(
    "",
    status_code=201,
    summary="Add a webhook endpoint",
    response_model=CreatedWebhook,
    responses=describing.answers(400, 401, 403, 409, 410, 413, 415, 422, 429, 503),
    openapi_extra=describing.body(
        WebhookRequest,
        {"url": "https://example.com/reelay", "events": ["job.succeeded", "job.failed"]},
        required=True,
    )
    | describing.IDEMPOTENCY_KEY,
)
async def create_webhook(request: Request, caller: WebhookMaker, house: HouseDep) -> Response:
    """Have events of the project's jobs sent to a URL, signed with the secret that this answer alone shows.

    Made with a key that is bound to a subject it hears of that subject's jobs. Sent again with the same
    `Idempotency-Key` the request gets 409: the secret is shown once.
    """
    key = asking.idempotency_key(request)
    body = await wire.parse_optional(request, cap=house.max_body_bytes)
    asked = asking.read(request, body.fingerprint, idempotency_key=key, caller=caller)
    wish = checked(body.content, schema=WebhookRequest, strict=True)
    await webhook_urls.require_public(wish.url, guard=house.guard)
    creating = partial(_create, asked=asked, wish=wish, caller=caller, house=house)
    hook, secret = await house.db.write(creating, by=caller.actor)
    log.info("webhook_created", webhook_id=hook.id, key_id=caller.key.id)
    view = CreatedWebhook(**webhook_views.shown(hook), secret=secret)
    return reply(view.model_dump_json(), status=201, cache=NEVER_KEPT)


def _create(
    conn: Connection, *, asked: Asked, wish: WebhookRequest, caller: Caller, house: House
) -> tuple[Webhook, str]:
    """The transaction. Raises what a replay of the request gets: the secret was shown and is not shown again."""
    now = house.db.now(conn)
    if asked.idempotency_key is not None and (known := creations.find(conn, asked, now=now)):
        asking.require_same(known, asked)
    hook, secret = webhooks.create(conn, caller.key, url=wish.url, events=wish.events, sealer=house.sealer, now=now)
    asking.remember_secret(conn, asked, made_id=hook.id, now=now)
    _note(conn, "webhook.created", hook.id, caller=caller, house=house)
    return hook, secret


def _note(conn: Connection, action: acts.Action, target: str, *, caller: Caller, house: House) -> None:
    noting.note(conn, action, target, caller=caller, house=house, project_id=caller.key.project_id)


@router.get(
    "",
    summary="List webhook endpoints",
    response_model=WebhookList,
    responses=describing.answers(400, 401, 403, 503),
)
async def list_webhooks(
    *, caller: WebhookReader, house: HouseDep, limit: listing.Limit = 20, after: listing.After = None
) -> Response:
    """The project's endpoints, newest first; to a key that is bound to a subject, those made with such keys."""

    def show(conn: Connection) -> str:
        found, has_more = webhooks.page(conn, caller.key, limit=limit, after=after)
        data = [WebhookView(**webhook_views.shown(hook)) for hook in found]
        return WebhookList(**listing.page(data, has_more=has_more)).model_dump_json()

    return reply(await house.db.read(show))


@router.get(
    "/default/secret",
    summary="Read the project's default secret",
    response_model=SecretView,
    responses=describing.answers(400, 401, 403, 409, 503),
)
async def read_default_secret(caller: WebhookReader, house: HouseDep) -> Response:
    """The secret that signs what goes to a job's own `webhook_url`. The first call makes it."""

    def read(conn: Connection) -> SecretView:
        hook = webhooks.default_of(conn, caller.key, sealer=house.sealer, now=house.db.now(conn))
        try:
            return SecretView(secret=house.sealer.open(hook.secret), previous_secret_until=hook.previous_until)
        except Unsealable:
            message = "The secret can't be read any more. POST /v1/webhooks/default/rotate-secret for another."
            raise Conflict(message, code="secret_unreadable") from None

    return reply((await house.db.write(read)).model_dump_json(), cache=NEVER_KEPT)


@router.get(
    "/{webhook_id}",
    summary="Read a webhook endpoint",
    response_model=WebhookView,
    responses=describing.answers(400, 401, 403, 404, 503),
)
async def read_webhook(webhook_id: str, caller: WebhookReader, house: HouseDep) -> Response:
    """The endpoint as it stands: whether it is failing, or disabled and why."""
    hook = await house.db.read(lambda conn: webhooks.get(conn, caller.key, webhook_id))
    return reply(WebhookView(**webhook_views.shown(hook)).model_dump_json())


@router.patch(
    "/{webhook_id}",
    summary="Change a webhook endpoint",
    response_model=WebhookView,
    responses=describing.answers(400, 401, 403, 404, 413, 415, 503),
    openapi_extra=describing.body(WebhookChange, {"enabled": True}),
)
async def update_webhook(webhook_id: str, request: Request, caller: WebhookWriter, house: HouseDep) -> Response:
    """Change its URL or its events, disable it, or enable it after it was disabled."""
    body = await wire.parse_optional(request, cap=house.max_body_bytes)
    wish = checked(body.content, schema=WebhookChange, strict=True)
    given = wish.model_fields_set
    to: dict[str, Any] = {}
    if "url" in given:
        await webhook_urls.require_public(wish.url, guard=house.guard)
        to["url"] = wish.url
    if "events" in given:
        to["events"] = None if wish.events is None else sorted(set(wish.events))
    enabled = wish.enabled if "enabled" in given else None

    def change(conn: Connection) -> Webhook:
        hook = webhooks.update(conn, caller.key, webhook_id, enabled=enabled, now=house.db.now(conn), **to)
        _note(conn, "webhook.changed", hook.id, caller=caller, house=house)
        return hook

    hook = await house.db.write(change, by=caller.actor)
    log.info("webhook_changed", webhook_id=hook.id, key_id=caller.key.id, fields=sorted(given))
    return reply(WebhookView(**webhook_views.shown(hook)).model_dump_json())


@router.delete(
    "/{webhook_id}",
    status_code=204,
    summary="Delete a webhook endpoint",
    responses=describing.answers(400, 401, 403, 404, 503),
)
async def delete_webhook(webhook_id: str, caller: WebhookWriter, house: HouseDep) -> Response:
    """Send nothing more there; the record of what was sent goes too."""

    def delete(conn: Connection) -> None:
        webhooks.delete(conn, caller.key, webhook_id)
        creations.scrub(conn, webhook_id)
        _note(conn, "webhook.deleted", webhook_id, caller=caller, house=house)

    await house.db.write(delete, by=caller.actor)
    log.info("webhook_deleted", webhook_id=webhook_id[:80], key_id=caller.key.id)
    return Response(status_code=204)


@router.post(
    "/{webhook_id}/rotate-secret",
    summary="Rotate a webhook's secret",
    response_model=SecretView,
    responses=describing.answers(400, 401, 403, 404, 503),
)
async def rotate_secret(webhook_id: str, caller: WebhookWriter, house: HouseDep) -> Response:
    """Get another secret, shown in this answer only. For 24 hours the one before signs as well.

    `default` rotates the project's default secret.
    """

    def rotate(conn: Connection) -> tuple[Webhook, str]:
        hook, secret = webhooks.rotate(conn, caller.key, webhook_id, sealer=house.sealer, now=house.db.now(conn))
        _note(conn, "webhook.secret_rotated", hook.id, caller=caller, house=house)
        return hook, secret

    hook, secret = await house.db.write(rotate, by=caller.actor)
    log.info("webhook_secret_rotated", webhook_id=hook.id, key_id=caller.key.id)
    view = SecretView(secret=secret, previous_secret_until=hook.previous_until)
    return reply(view.model_dump_json(), cache=NEVER_KEPT)


@router.post(
    "/{webhook_id}/test",
    status_code=202,
    summary="Send a test event",
    response_model=DeliveryView,
    responses=describing.answers(400, 401, 403, 404, 503),
)
async def test_webhook(webhook_id: str, caller: WebhookWriter, house: HouseDep) -> Response:
    """Send one `webhook.test`, once, also to a disabled endpoint. Its deliveries tell how that went."""

    def owe(conn: Connection) -> DeliveryView:
        hook = webhooks.get(conn, caller.key, webhook_id, lock=True)
        owed = delivery_log.owe_test(conn, hook, now=house.db.now(conn))
        _note(conn, "webhook.tested", hook.id, caller=caller, house=house)
        return webhook_views.delivery(owed)

    return reply((await house.db.write(owe, by=caller.actor)).model_dump_json(), status=202)


@router.get(
    "/{webhook_id}/deliveries",
    summary="List deliveries",
    response_model=DeliveryList,
    responses=describing.answers(400, 401, 403, 404, 503),
)
async def list_deliveries(
    *, webhook_id: str, caller: WebhookReader, house: HouseDep, limit: listing.Limit = 20, after: listing.After = None
) -> Response:
    """What was or is to be sent there, newest first, with each attempt; 30 days long.

    `default` lists what goes to URLs that jobs bring along.
    """

    def show(conn: Connection) -> str:
        hook = webhooks.named(conn, caller.key, webhook_id)
        found, has_more = delivery_log.page(conn, caller.key, hook, limit=limit, after=after)
        data = [webhook_views.delivery(logged) for logged in found]
        return DeliveryList(**listing.page(data, has_more=has_more)).model_dump_json()

    return reply(await house.db.read(show))


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/redeliver",
    status_code=202,
    summary="Send a delivery again",
    response_model=DeliveryView,
    responses=describing.answers(400, 401, 403, 404, 409, 503),
)
async def redeliver(webhook_id: str, delivery_id: str, caller: WebhookWriter, house: HouseDep) -> Response:
    """Send the same event, with the same `webhook-id`, however it went before; again with all its tries."""

    def owe(conn: Connection) -> DeliveryView:
        hook = webhooks.named(conn, caller.key, webhook_id, lock=True)
        now = house.db.now(conn)
        owed = delivery_log.send_again(conn, caller.key, hook, delivery_id, now=now)
        _note(conn, "delivery.sent_again", delivery_id, caller=caller, house=house)
        return webhook_views.delivery(owed)

    return reply((await house.db.write(owe, by=caller.actor)).model_dump_json(), status=202)
