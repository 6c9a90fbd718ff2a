"""Lets faults happen to a request: the same few troubles, wherever they strike."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from app.sandbox.answers import Dropped, GatewayFailed, Refused, hang
from app.sandbox.faults import AREA_FAULTS, Faults, UnknownFault, number, parse
from app.sandbox.intake import invalid
from app.sandbox.sandbox import OUT_OF_CREDITS, of

Endpoint = Callable[[Request], Awaitable[Response]]

_MESSAGES = {
    401: "Unauthorized: the API key is missing, expired or invalid",
    403: "Forbidden: this key may not use this model",
    429: "Too many requests",
    500: "Internal server error",
    503: "Service unavailable",
}
_DRY_SECONDS = 5.0


def asked_in_header(request: Request) -> Faults:
    """Return the faults of `X-Sandbox-Fault`; raise Refused (400) for one that does not exist."""
    try:
        asked = parse(request.headers.get("x-sandbox-fault", ""))
    except UnknownFault as unknown:
        raise invalid(str(unknown)) from None
    return {fault.name: fault.value for fault in asked}


async def strike(request: Request, trouble: str, value: str | None) -> None:
    """Do what a trouble's bare name says: refuse, fail like a gateway, hang or reset. Returns only after a hang."""
    match trouble:
        case "hang":
            await hang(request, number(value, of(request).config.hang_seconds))
        case "reset":
            raise Dropped
        case "out-of-credits":
            of(request).run_dry(number(value, _DRY_SECONDS))
            raise Refused(403, OUT_OF_CREDITS)
        case "429":
            raise Refused(429, _MESSAGES[429], headers={"retry-after": value} if value else None)
        case bare if bare.endswith("-bare"):
            raise GatewayFailed(int(bare.removesuffix("-bare")))
        case status:
            raise Refused(int(status), _MESSAGES[int(status)])


async def strike_area(request: Request, area: str) -> None:
    """Let the faults of a free request's area happen, be they drawn by chance or asked for in its header."""
    box = of(request)
    for name, value in (box.faults.drawn(area=area) | asked_in_header(request)).items():
        if name in AREA_FAULTS and name.startswith(f"{area}-"):
            box.faults.note(name)
            await strike(request, name.removeprefix(f"{area}-"), value)


def troubled(area: str, endpoint: Endpoint) -> Endpoint:
    """Wrap an endpoint so that the faults of its area strike first, and its requests are counted."""

    async def wrapped(request: Request) -> Response:
        of(request).requests[area] += 1
        await strike_area(request, area)
        return await endpoint(request)

    return wrapped
