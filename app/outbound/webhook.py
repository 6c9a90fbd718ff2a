"""One attempt to deliver an event: signed, posted through the guard, judged by its status. No answer is read."""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx2

from app.domain import retry_after
from app.domain.errors import AddressRefused
from app.domain.webhooks import signed_headers
from app.outbound.guard import Guard

HEADERS = {"User-Agent": "Reelay", "Accept": "*/*", "Content-Type": "application/json"}
GONE = 410


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How the attempt ended. `error`, in our own words, is None for a delivery."""

    duration_seconds: float
    status_code: int | None = None
    error: str | None = None
    retry_after_seconds: float | None = None

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants nothing any more."""
        return self.status_code == GONE


async def post(
    url: str,
    *,
    event_id: str,
    body: bytes,
    sent_at: datetime,
    secrets: tuple[str, ...],
    guard: Guard,
    timeout_seconds: float,
) -> Answer:
    """Post the event once. Never raises for what the receiver does; no redirect is followed, no proxy asked."""
    headers = HEADERS | signed_headers(event_id=event_id, body=body, sent_at=sent_at, secrets=secrets)
    began = time.monotonic()
    status, error, asked = None, None, None
    try:
        async with asyncio.timeout(timeout_seconds), guard.transport() as transport:
            timeout = httpx2.Timeout(timeout_seconds).as_dict()
            target = guard.check(url)
            request = httpx2.Request("POST", target, content=body, headers=headers, extensions={"timeout": timeout})
            response = await transport.handle_async_request(request)
            status, asked = response.status_code, _asked_seconds(response)
            error = _judged(status)
            await response.aclose()
    except AddressRefused as refused:
        error = str(refused)
    except (TimeoutError, httpx2.TimeoutException):
        error = error if status else f"It did not answer within {timeout_seconds:g} seconds."
    except (httpx2.TransportError, httpx2.InvalidURL) as broken:
        error = error if status else f"The connection failed ({type(broken).__name__})."
    return Answer(
        duration_seconds=round(time.monotonic() - began, 3),
        status_code=status,
        error=error,
        retry_after_seconds=asked,
    )


def _judged(status: int) -> str | None:
    """Return what is wrong with the status; only 2xx is right."""
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"It answered {status}; redirects are not followed."
    return f"It answered {status}."


def _asked_seconds(response: httpx2.Response) -> float | None:
    return retry_after.seconds_of(response.headers.get("retry-after", ""), now=datetime.now(UTC))
