"""The paid POST: sent once, and its outcome told without guessing: bought, certainly not, or nobody knows."""

import json
import re
from typing import Any

import httpx2
import structlog
from pydantic import SecretStr

from app.domain.errors import NotSent, Refusal, Refused, Unconfirmed
from app.upstream import wire
from app.upstream.exchange import Exchange, Trace, exchange
from app.upstream.scrubbing import Scrub

log = structlog.get_logger()

DEFINITE_STATUSES = frozenset({400, 401, 402, 403, 404, 413, 415, 422, 429})
"""The statuses that the upstream answers only when it bought nothing."""

_REFUSALS = {
    401: Refusal.BAD_KEY,
    402: Refusal.FORBIDDEN,
    403: Refusal.FORBIDDEN,
    404: Refusal.NOT_FOUND,
    429: Refusal.RATE_LIMITED,
}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class PaidPost:
    """Buys generations, over its own HTTP client: a fresh connection each, no retries, no redirects, no proxy."""

    def __init__(
        self,
        api_key: SecretStr,
        *,
        url: str,
        scrub: Scrub,
        timeout_seconds: float,
        connect_timeout_seconds: float,
        definite_statuses: frozenset[int],
        transport: httpx2.AsyncBaseTransport | None,
    ) -> None:
        self._key = api_key
        self._url = url
        self._scrub = scrub
        self._timeout_seconds = timeout_seconds
        # The name look-up with TCP, then TLS, and a little for what the library does in between.
        self._connection_seconds = 2 * connect_timeout_seconds + 1
        self._definite_statuses = definite_statuses
        # A reused connection may be one that the other side has just closed: the request would be gone, unanswered.
        fresh = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
        self._http = httpx2.AsyncClient(
            transport=transport or httpx2.AsyncHTTPTransport(trust_env=False, limits=fresh, retries=0),
            timeout=httpx2.Timeout(timeout_seconds, connect=connect_timeout_seconds, pool=connect_timeout_seconds),
            follow_redirects=False,
            trust_env=False,
        )

    async def send(self, *, path: str, body: dict[str, Any], request_id: str) -> wire.Submitted:
        """Post `body`; raise NotSent, Refused or Unconfirmed."""
        request = self._compose(path, body=body, request_id=request_id)

        async def send(trace: Trace) -> httpx2.Response:
            request.extensions["trace"] = trace
            return await self._http.send(request, stream=True)

        seen = await exchange(
            send,
            seconds=self._timeout_seconds,
            connection_seconds=self._connection_seconds,
        )
        return self._judge(seen, request_id=request_id)

    async def aclose(self) -> None:
        await self._http.aclose()

    def _compose(self, path: str, *, body: dict[str, Any], request_id: str) -> httpx2.Request:
        if self._http.is_closed:
            raise NotSent("The upstream client is closed.")
        if not path.startswith("/"):
            raise NotSent("The upstream path must begin with a slash.")
        if not _REQUEST_ID.fullmatch(request_id):
            # The upstream would silently drop it, and a lost submission could never be found again.
            raise NotSent("The request id must be 1 to 128 of A-Z a-z 0-9 . _ : -")
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            # Half of a compressed answer is unreadable; half of a plain one may hold the id.
            "Accept-Encoding": "identity",
            "Connection": "close",
            "X-Client-Request-Id": request_id,
        }
        try:
            content = json.dumps(body, allow_nan=False).encode()
            request = self._http.build_request("POST", self._url + path, content=content, headers=headers)
        except (TypeError, ValueError, RecursionError, httpx2.InvalidURL) as fault:
            raise NotSent(self._scrub(f"The request cannot be written: {fault}")) from None
        request.headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        return request

    def _judge(self, seen: Exchange, *, request_id: str) -> wire.Submitted:
        if seen.status is None:
            if seen.may_have_left:
                raise Unconfirmed(self._scrub(f"The request left, but no answer came: {seen.trouble}"))
            raise NotSent(self._scrub(f"The upstream could not be reached: {seen.trouble}"))
        if 200 <= seen.status < 300:
            return self._accepted(seen, request_id=request_id)
        message = refusal_text(seen, scrub=self._scrub)
        if seen.status in self._definite_statuses:
            raise Refused(
                message,
                refusal=refusal_of(seen.status),
                http_status=seen.status,
                retry_after_seconds=seen.retry_after_seconds(),
            )
        raise Unconfirmed(message, http_status=seen.status, retry_after_seconds=seen.retry_after_seconds())

    def _accepted(self, seen: Exchange, *, request_id: str) -> wire.Submitted:
        document = seen.document()
        submitted = wire.read_submitted(document, body=seen.body, headers=seen.headers)
        if submitted is None:
            trouble = seen.trouble or "it names no id"
            raise Unconfirmed(
                self._scrub(f"The upstream answered HTTP {seen.status}, but {trouble}."), http_status=seen.status
            )
        if wire.stated_id(document) is None:
            log.warning(
                "submission_salvaged",
                request_id=request_id,
                generation_id=self._scrub(submitted.generation_id),
                trouble=self._scrub(seen.trouble),
            )
        return submitted


def refusal_of(status: int) -> Refusal:
    """Return what a definite no means. One without a word of its own means wrong input if it is 4xx, else later."""
    return _REFUSALS.get(status, Refusal.INVALID_INPUT if 400 <= status < 500 else Refusal.RATE_LIMITED)


def refusal_text(seen: Exchange, *, scrub: Scrub) -> str:
    """Return the upstream's own sentence, or else the bare status: a gateway's page tells people nothing."""
    return scrub(wire.error_text(seen.document()) or f"The upstream answered HTTP {seen.status}.")
