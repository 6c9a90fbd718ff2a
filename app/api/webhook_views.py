"""What is sent to `/v1/webhooks` and what comes back."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from app.api.schemas import Request
from app.db.deliveries import Logged
from app.db.webhooks import Webhook
from app.domain.webhooks import LONGEST_URL, Delivery, EventType

Url = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_URL, pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://")]
Events = Annotated[list[EventType], Field(min_length=1, max_length=20)]


class WebhookRequest(Request):
    """Where events are to go."""

    url: Url = Field(description="An http(s) address that anybody on the internet could call.")
    events: Events | None = Field(default=None, description="The only events to send; by default all.")


def _without_default(schema: dict[str, Any]) -> None:
    del schema["default"]


class WebhookChange(Request):
    """What is to change. What is left out stays: the defaults mean nothing, and nobody is told of them."""

    url: Url = Field(
        default="https://",
        description="Where events go from now on, also those that are owed.",
        json_schema_extra=_without_default,
    )
    events: Events | None = Field(
        default=None, description="The only events to send; null for all.", json_schema_extra=_without_default
    )
    enabled: bool = Field(
        default=True,
        description="False stops all, and gives up what is owed; true begins anew.",
        json_schema_extra=_without_default,
    )


class WebhookView(BaseModel):
    """An endpoint, without its secret."""

    id: str
    object: Literal["webhook"] = "webhook"
    url: str
    events: list[str] | None = Field(description="The only events it gets; null for all.")
    subject: str | None = Field(description="Whose jobs it hears of: that of the key that made it; null for all.")
    status: Literal["enabled", "disabled"]
    disabled_reason: Literal["by_request", "gone", "failing"] | None = Field(
        description="`gone`: it answered 410. `failing`: nothing got through for five days."
    )
    disabled_at: datetime | None
    failing_since: datetime | None = Field(description="The first failure since something got through.")
    previous_secret_until: datetime | None = Field(description="Until when the secret before this one signs as well.")
    created_at: datetime


class CreatedWebhook(WebhookView):
    """An endpoint with its secret, which is shown this once."""

    secret: str = Field(description="Verifies signatures: `whsec_` and 32 bytes in base64.")


class SecretView(BaseModel):
    """A secret that signs webhooks."""

    object: Literal["webhook_secret"] = "webhook_secret"
    secret: str = Field(description="Verifies signatures: `whsec_` and 32 bytes in base64.")
    previous_secret_until: datetime | None = Field(description="Until when the secret before this one signs as well.")


class WebhookList(BaseModel):
    """One page of endpoints."""

    object: Literal["list"] = "list"
    data: list[WebhookView]
    first_id: str | None
    last_id: str | None
    has_more: bool


class AttemptView(BaseModel):
    """One try."""

    started_at: datetime
    duration_ms: int
    status_code: int | None = Field(description="What the receiver answered; nothing else of its answer is kept.")
    error: str | None = Field(description="What went wrong, in our words; null for a delivery.")


class DeliveryView(BaseModel):
    """One event owed to one URL."""

    id: str
    object: Literal["delivery"] = "delivery"
    event_id: str = Field(description="The `webhook-id` of every attempt.")
    event_type: str
    job_id: str | None
    status: Delivery
    created_at: datetime
    next_attempt_at: datetime | None
    finished_at: datetime | None
    attempts: list[AttemptView]


class DeliveryList(BaseModel):
    """One page of deliveries."""

    object: Literal["list"] = "list"
    data: list[DeliveryView]
    first_id: str | None
    last_id: str | None
    has_more: bool


def shown(hook: Webhook) -> dict[str, Any]:
    """Return an endpoint's fields as they are shown."""
    return {
        "id": hook.id,
        "url": hook.url,
        "events": hook.events,
        "subject": hook.subject,
        "status": "enabled" if hook.disabled_at is None else "disabled",
        "disabled_reason": hook.disabled_reason,
        "disabled_at": hook.disabled_at,
        "failing_since": hook.failing_since,
        "previous_secret_until": hook.previous_until,
        "created_at": hook.created_at,
    }


def delivery(logged: Logged) -> DeliveryView:
    """Render a delivery with its attempts."""
    return DeliveryView(
        id=logged.id,
        event_id=logged.event_id,
        event_type=logged.event_type,
        job_id=logged.job_id,
        status=logged.state,
        created_at=logged.event_at,
        next_attempt_at=logged.due_at if logged.state is Delivery.OWED else None,
        finished_at=logged.finished_at,
        attempts=[
            AttemptView(
                started_at=attempt.started_at,
                duration_ms=round(attempt.duration_seconds * 1000),
                status_code=attempt.status_code,
                error=attempt.error,
            )
            for attempt in logged.attempts
        ],
    )
