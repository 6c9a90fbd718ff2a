"""JSON as it is answered: only its caller may keep it, and asks each time whether it is still so."""

from collections.abc import Mapping

from starlette.responses import Response

FRESH = "private, no-cache"
NEVER_KEPT = "no-store"


def reply(body: str | bytes, *, status: int = 200, cache: str = FRESH, headers: Mapping[str, str] = {}) -> Response:
    """Answer with this JSON; `headers` go before what is said by itself."""
    told = {"Cache-Control": cache, **headers}
    return Response(body, status_code=status, media_type="application/json", headers=told)
