"""URLs to which events may be sent: judged when they are named, and again at each delivery."""

from app.api.callers import Caller
from app.api.deps import House
from app.domain.errors import AddressRefused, InvalidRequest, PermissionDenied
from app.domain.webhooks import LONGEST_URL
from app.outbound.guard import Guard, port_of


def require_usable(url: str, *, guard: Guard, param: str) -> None:
    """Raise InvalidRequest for what is no URL that we call, as far as can be told without a look-up."""
    if len(url) > LONGEST_URL:
        raise _refused(f"It is longer than {LONGEST_URL} characters.", param=param)
    try:
        guard.check(url)
    except AddressRefused as error:
        raise _refused(str(error), param=param) from None


async def require_public(url: str, *, guard: Guard) -> None:
    """Raise InvalidRequest also for a name that leads inside. One that is not known yet may be by the first event."""
    require_usable(url, guard=guard, param="url")
    parsed = guard.check(url)
    try:
        await guard.resolve(parsed.raw_host.decode("ascii"), port_of(parsed))
    except AddressRefused as error:
        raise _refused(str(error), param="url") from None
    except (OSError, UnicodeError):
        return


def require_own(url: str | None, *, caller: Caller, house: House) -> None:
    """Judge the URL that a job brings along; raise PermissionDenied to a client token, which may name none."""
    if url is None:
        return
    if caller.token is not None:
        message = "A client token can't set 'webhook_url'. Leave it out, or make the job with a key."
        raise PermissionDenied(message, code="key_required", param="webhook_url")
    require_usable(url, guard=house.guard, param="webhook_url")


def _refused(reason: str, *, param: str) -> InvalidRequest:
    return InvalidRequest(f"{param!r} can't be called: {reason}", code="invalid_webhook_url", param=param)
