"""Webhooks as Standard Webhooks has them: what is sent, how it is signed, when it is tried again."""

import base64
import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, get_args

SECRET_PREFIX = "whsec_"  # noqa: S105  # how one begins
_SECRET_BYTES = 32
DEFAULT = "default"
"""How addresses name what stands for the URLs that jobs bring along."""

EventType = Literal[
    "job.created", "job.started", "job.succeeded", "job.failed", "job.canceled", "job.unconfirmed"
]  # fmt: skip
SENT: frozenset[str] = frozenset(get_args(EventType))
"""What is sent of a job's timeline. The rest is for those who look."""
TEST = "webhook.test"
"""The event of a test: about no job, and tried once."""

PAUSES_SECONDS = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 36_000.0)
"""Between one try and the next: eight tries in 27 hours and a half."""
MOST_TRIES = len(PAUSES_SECONDS) + 1
JITTER = 0.1
"""A pause is shorter or longer by at most this share, so that what failed together does not come again together."""
LONGEST_PAUSE = timedelta(hours=24)
"""Also of what a receiver asks for."""
FAILING_AT_MOST = timedelta(days=5)
TIMEOUT_SECONDS = 15.0
OLD_SECRET_SIGNS = timedelta(hours=24)
"""How long both secrets sign after a rotation."""
LONGEST_URL = 2048


class Delivery(StrEnum):
    """How one event owed to one URL stands."""

    OWED = "owed"
    DELIVERED = "delivered"
    FAILED = "failed"


class Disabled(StrEnum):
    """Why an endpoint gets nothing."""

    BY_REQUEST = "by_request"
    GONE = "gone"
    """It answered 410."""
    FAILING = "failing"
    """Nothing got through for days."""


def new_secret() -> str:
    """Return a fresh secret: 256 random bits, as receivers' libraries read them."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signed_headers(*, event_id: str, body: bytes, sent_at: datetime, secrets: tuple[str, ...]) -> dict[str, str]:
    """Return the three headers; during a rotation both secrets sign, and a receiver needs to know one."""
    seconds = str(int(sent_at.timestamp()))
    message = b".".join((event_id.encode(), seconds.encode(), body))
    signatures = " ".join(f"v1,{_signature(secret, message)}" for secret in secrets)
    return {"webhook-id": event_id, "webhook-timestamp": seconds, "webhook-signature": signatures}


def _signature(secret: str, message: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    return base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode()


def next_pause(tries: int, *, chance: float, asked_seconds: float | None = None) -> timedelta | None:
    """Return when to try again after so many failed tries; None if that was the last.

    `chance`, between 0 and 1, decides about the jitter. What the receiver asked for is the least.
    """
    if tries >= MOST_TRIES:
        return None
    usual = PAUSES_SECONDS[tries - 1] * (1 + JITTER * (2 * chance - 1))
    return min(timedelta(seconds=min(max(usual, asked_seconds or 0.0), 1e6)), LONGEST_PAUSE)
