"""Who comes with a signed URL instead of a key: browsers, which cannot send one with a `<video>` or an EventSource."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.security import HTTPAuthorizationCredentials

from app.api.callers import Caller
from app.api.deps import House, identify, refuse_foreign_parameters, unauthenticated
from app.domain.secrets import Scope


@dataclass(frozen=True, slots=True)
class Signature:
    """What a signed URL says of itself."""

    expires: int
    key_id: str
    signature: str


async def _signature(
    expires: Annotated[str | None, Query(max_length=20)] = None,
    key_id: Annotated[str | None, Query(max_length=100)] = None,
    signature: Annotated[str | None, Query(max_length=128)] = None,
) -> Signature | None:
    if expires is None and key_id is None and signature is None:
        return None
    number = int(expires) if expires and expires.isascii() and expires.isdecimal() else 0
    return Signature(number, key_id or "", signature or "")


Signed = Annotated[Signature | None, Depends(_signature)]


async def let_in(
    request: Request,
    house: House,
    given: HTTPAuthorizationCredentials | None,
    signed: Signature | None,
    *,
    job_id: str,
    use: str,
) -> Caller:
    """Return who comes, by key or by an URL signed for this use of the job, whose key must still work.

    Raises AuthenticationFailed or PermissionDenied.
    """
    if signed is None:
        caller = await identify(request, house, given, scope=Scope.JOBS_READ)
        refuse_foreign_parameters(request)
        return caller
    refuse_foreign_parameters(request)
    now = await house.db.read(house.db.now)
    genuine = house.signer.holds(
        job_id=job_id,
        use=use,
        key_id=signed.key_id,
        expires=signed.expires,
        signature=signed.signature,
        now=now,
    )
    signer = await house.keys.by_id(house.db, signed.key_id) if genuine else None
    if signer is None or not signer.key.scopes & {Scope.JOBS_READ, Scope.ADMIN}:
        raise unauthenticated("This URL has expired or was changed. GET the job for a fresh one.", code="invalid_url")
    return signer
