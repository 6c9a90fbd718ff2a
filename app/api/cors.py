"""Cross-origin requests of browsers: an exact allow-list, empty by default, and never with credentials of their own.

Written here and not taken from the framework, whose middleware marks only what the application itself answers: pages
must be able to read every refusal, also those of the outermost layer.
"""

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE")
TAKEN = (
    *("authorization", "content-type", "idempotency-key", "if-none-match", "if-range", "last-event-id"),
    *("prefer", "range", "x-request-id"),
)
_SDK_HEADER = re.compile(r"x-stainless-[a-z-]{1,40}")
"""OpenAI's SDK describes itself in headers of such names."""
SHOWN = (
    *("accept-ranges", "content-disposition", "content-range", "etag", "idempotent-replayed", "last-event-id"),
    "location",
    *("openai-poll-after-ms", "preference-applied", "retry-after", "www-authenticate", "x-request-id"),
    *("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests", "x-should-retry"),
)
KEPT_SECONDS = 600
"""How long a browser need not ask again."""


class AllowList:
    """The origins whose pages may use the service."""

    def __init__(self, origins: frozenset[str]) -> None:
        self._origins = origins

    def judge(self, given: Headers) -> "CrossOrigin":
        """Return what this means for the request with these headers."""
        origins = given.getlist("origin")
        allowed = origins[0] if len(origins) == 1 and origins[0] in self._origins else None
        return CrossOrigin(bool(self._origins), allowed, given)


class CrossOrigin:
    """One request, as a browser that guards its pages sees it."""

    def __init__(self, varies: bool, origin: str | None, given: Headers) -> None:
        self._varies = varies
        self._origin = origin
        """The page's origin, if it is allowed."""
        self._given = given

    @property
    def speaks(self) -> bool:
        """Whether the answer is to be marked at all."""
        return self._varies or self._origin is not None

    def mark(self, headers: MutableHeaders) -> None:
        """Say in the answer that it may differ by origin, and let an allowed page read it."""
        if self._varies:
            headers.add_vary_header("Origin")
        if self._origin is not None:
            headers["Access-Control-Allow-Origin"] = self._origin
            headers["Access-Control-Expose-Headers"] = ", ".join(SHOWN)

    def permission(self) -> Response | None:
        """Return the answer to a browser that asks what an allowed page may send; None to anything else.

        Pages of other origins get what the route says to OPTIONS, which opens nothing.
        """
        if self._origin is None or "access-control-request-method" not in self._given:
            return None
        asked = self._given.get("access-control-request-headers", "").lower().split(",")
        of_the_sdk = sorted({name.strip() for name in asked if _SDK_HEADER.fullmatch(name.strip())})
        headers = {
            "Access-Control-Allow-Methods": ", ".join(METHODS),
            "Access-Control-Allow-Headers": ", ".join([*TAKEN, *of_the_sdk]),
            "Access-Control-Max-Age": str(KEPT_SECONDS),
            "Vary": "Access-Control-Request-Headers",
        }
        return Response(status_code=204, headers=headers)
