"""What endpoints are given: the house, the caller. Everything here is decided before one byte of a body is read."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.api import callers
from app.api.callers import Caller, KeyRing
from app.api.feed import Feed
from app.api.rates import Limit, Rates
from app.api.remembered import Remembered
from app.api.remembered_jobs import RememberedJobs
from app.catalogue.catalogue import Catalogue
from app.db.engine import Connection, Database
from app.db.together import Together
from app.domain.actor import LONGEST_ADDRESS, Actor
from app.domain.errors import AuthenticationFailed, InvalidRequest, NotFound, PermissionDenied, Unavailable
from app.domain.figures import Figures
from app.domain.listing import ListedModel
from app.domain.money import Estimate
from app.domain.sealing import Sealer
from app.domain.secrets import Scope
from app.domain.signing import Signer
from app.domain.text import storable
from app.domain.views import Viewer
from app.media.store import Store
from app.outbound.guard import Guard


@dataclass(frozen=True, kw_only=True)
class House:
    """What the endpoints need. The composition root makes one and hands it to `routes.build`."""

    db: Database
    store: Store
    catalogue: Catalogue
    signer: Signer
    public_url: str
    """Without a slash at the end."""
    mode: Literal["real", "sandbox"]
    retention: timedelta | None
    """How long finished jobs are kept; None keeps them until they are deleted."""
    file_retention: timedelta
    guard: Guard = field(default_factory=Guard)
    """Judges the URLs of webhooks."""
    cors_origins: frozenset[str] = frozenset()
    """Origins whose pages may use this service through a browser; there is no such page by default."""
    content_origin: str | None = None
    """Where links into the storage lead, if downloads are answered with such; None passes the bytes on."""
    content_accel: str | None = None
    """The location of nginx in front to which downloads are handed over; None sends the bytes ourselves."""
    max_in_flight: int = 10
    """How many generations the upstream takes at once, for estimates."""
    max_body_bytes: int = 32 << 20
    max_image_bytes: int = 20 << 20
    max_image_pixels: int = 50_000_000
    max_image_side: int | None = 4096
    """Longer images are scaled down: no model makes larger videos."""
    max_clip_bytes: int = 30 << 20
    max_sound_bytes: int = 15 << 20
    spool: Path | None = None
    """Where an upload lies until it is checked; None takes the system's folder for such."""
    data_dir: Path | None = None
    """The data folder, of whose disk the metrics tell."""
    metrics_token: str | None = None
    """What opens the metrics, beside keys of operators."""
    allow_unknown_models: bool = False
    """Whether a model that the upstream lists and the catalogue lacks may be used, its input unchecked."""
    own_prices: Mapping[str, Any] = field(default_factory=dict)
    """The operator's price rules by model: they go before the upstream's."""
    default_reserve_micros: int = 0
    """What is reserved for a job whose price is not known ahead."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at shutdown, followed by `db.signals.wake_all()`: requests that wait for a job then answer at once."""
    keys: KeyRing = field(default_factory=KeyRing)
    prices: Remembered[dict[str, Any]] = field(default_factory=lambda: Remembered(30.0))
    listing: Remembered[list[ListedModel]] = field(default_factory=lambda: Remembered(30.0))
    rates: Rates = field(default_factory=Rates)
    wishes: Together[Any, Any] = field(default_factory=lambda: Together(largest=64, final=(Unavailable,)))
    """New jobs that wait to be written, each by `making.make_all`."""
    feed: Feed = field(default_factory=Feed)
    figures: Remembered[Figures] = field(default_factory=lambda: Remembered(5.0, share=0.05))
    readiness: Remembered[tuple[str, list[str]]] = field(default_factory=lambda: Remembered(1.0))

    @cached_property
    def remembered(self) -> RememberedJobs:
        """Return the jobs that were read lately, and are as they were."""
        return RememberedJobs(self.db.signals)

    @property
    def sealer(self) -> Sealer:
        """Return what opens the secrets of webhooks."""
        return Sealer(self.signer.secret, self.signer.previous)

    def close_door(self) -> None:
        """Answer whoever waits for a job: this process ends."""
        self.closing.set()
        self.db.signals.wake_all()

    def to_reserve(self, quoted: Estimate) -> int:
        """Return what to reserve for a new job."""
        return self.default_reserve_micros if quoted.micros is None else quoted.micros

    def viewer(self, caller: Caller) -> Viewer:
        """Return for whom views are rendered: signed URLs name the caller's credential and end with it."""
        return Viewer(self.public_url, self.signer, caller.credential_id, self.retention, ends_at=caller.key.expires_at)


async def the_house(request: Request) -> House:
    house: House = request.app.state.house
    return house


HouseDep = Annotated[House, Depends(the_house)]
BEARER: dict[str, Any] = {
    "auto_error": False,
    "scheme_name": "key",
    "description": "A project's key, `rly_...`, or a client token, `rlt_...`. Where the operator has set an identity "
    "provider also an access token of its own.",
}
Given = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(**BEARER))]


async def identify(
    request: Request, house: House, given: HTTPAuthorizationCredentials | None, *, scope: Scope | None
) -> Caller:
    """Return who calls; raise AuthenticationFailed, PermissionDenied or RateLimited."""
    if given is None:
        raise unauthenticated("Send your key: 'Authorization: Bearer rly_...'.", code="missing_api_key")
    caller = await house.keys.by_secret(house.db, given.credentials)
    if caller is None:
        raise unauthenticated("This key does not work: it is mistyped, revoked or expired. Ask for a new one.")
    if limits := limits_of(caller):
        request.state.rate_headers = house.rates.count(*limits)
    _require_origin(request, caller, house=house)
    if scope is not None and not caller.key.scopes & {scope, Scope.ADMIN}:
        raise PermissionDenied(f"This {caller.kind} lacks the scope {scope}. Use one that has it.")
    return caller


def limits_of(caller: Caller) -> list[Limit]:
    """Return the caller's limits of requests a minute. Each token of a key counts for itself."""
    own, shared = caller.key.requests_per_minute, caller.project.requests_per_minute
    limits = [] if own is None else [Limit(caller.credential_id, own, f"This {caller.kind}")]
    return limits if shared is None else [*limits, Limit(caller.project.id, shared, "The project")]


def _require_origin(request: Request, caller: Caller, *, house: House) -> None:
    """Raise PermissionDenied for a token that pages of other origins were given.

    Browsers name the origin of a page in all that it asks of another one. Of reads from its own they only say that.
    """
    if caller.token is None or caller.token.origins is None:
        return
    origin = request.headers.get("origin")
    if origin is None and request.headers.get("sec-fetch-site") == "same-origin":
        parts = urlsplit(house.public_url)
        origin = f"{parts.scheme}://{parts.netloc}"
    if origin not in caller.token.origins:
        allowed = ", ".join(sorted(caller.token.origins))
        raise PermissionDenied(f"This token works only on pages of {allowed}.", code="origin_not_allowed")


def require_working(conn: Connection, caller: Caller, *, now: datetime) -> None:
    """Raise AuthenticationFailed if the credential has ended since the door: bodies take minutes."""
    if not callers.still_works(conn, caller, now=now):
        raise unauthenticated("This key or token was revoked or has expired.")


def unauthenticated(message: str, *, code: str | None = None) -> AuthenticationFailed:
    return AuthenticationFailed(message, code=code, headers={"WWW-Authenticate": "Bearer"})


def refuse_foreign_parameters(request: Request) -> None:
    """Raise for query parameters that the route does not know, and for text that no database holds."""
    if not all(storable(value) for value in request.path_params.values()):
        raise NotFound("There is nothing at this address.")
    route = request.scope["route"]
    declared = set(_query_names(route.dependant))
    extra = (route.openapi_extra or {}).get("parameters", ())
    families = {parameter["name"] for parameter in extra if parameter["in"] == "query"}
    for name, value in request.query_params.multi_items():
        if name not in declared and not (name.endswith("]") and name.partition("[")[0] in families):
            known = ", ".join(sorted(declared | families)) or "none"
            raise InvalidRequest(
                f"There is no query parameter {name[:80]!r} here. Known: {known}.",
                code="unknown_parameter",
                param=name[:80],
            )
        if not storable(value):
            raise InvalidRequest(f"{name!r} holds a NUL.", param=name)


def _query_names(dependant: Dependant) -> Iterator[str]:
    yield from (parameter.alias for parameter in dependant.query_params)
    for needed in dependant.dependencies:
        yield from _query_names(needed)


class Admitted(HTTPBearer):
    """The dependency that lets in whoever has a working credential with this scope, if one is named.

    `creates` keeps archived projects out, `keys_only` client tokens, `also_reads` who may not read jobs.

    One dependency and not several that need each other: FastAPI solves each anew for every request, which takes time.
    """

    def __init__(
        self, scope: Scope | None, *, creates: bool = False, keys_only: bool = False, also_reads: bool = False
    ) -> None:
        super().__init__(**BEARER)
        self._scope = scope
        self._creates = creates
        self._keys_only = keys_only
        self._also_reads = also_reads

    async def __call__(self, request: Request) -> Caller:  # type: ignore[override]  # the caller, not the header
        house: House = request.app.state.house
        caller = await identify(request, house, await super().__call__(request), scope=self._scope)
        if self._keys_only and caller.token is not None:
            raise PermissionDenied("A client token can't do this. Use a key, on your server.", code="key_required")
        if self._also_reads and not caller.key.may_read:
            raise PermissionDenied(
                f"This key lacks the scope {Scope.JOBS_READ}: events show jobs. Use one that has it."
            )
        refuse_foreign_parameters(request)
        if self._creates:
            require_open(is_archived=caller.project.archived_at is not None)
        return replace(caller, actor=_actor(request, caller))


def _actor(request: Request, caller: Caller) -> Actor:
    peer = request.client
    return Actor(
        key_id=caller.key.id,
        token_id=caller.token_id,
        subject=caller.key.subject,
        request_id=request.state.request_id,
        address=None if peer is None else peer.host[:LONGEST_ADDRESS],
    )


Anybody = Annotated[Caller, Depends(Admitted(None))]
"""Whoever has a working credential."""
Reader = Annotated[Caller, Depends(Admitted(Scope.JOBS_READ))]
Writer = Annotated[Caller, Depends(Admitted(Scope.JOBS_WRITE))]
Creator = Annotated[Caller, Depends(Admitted(Scope.JOBS_WRITE, creates=True))]
KeyHolder = Annotated[Caller, Depends(Admitted(None, keys_only=True))]
Minter = Annotated[Caller, Depends(Admitted(None, creates=True, keys_only=True))]
Admin = Annotated[Caller, Depends(Admitted(Scope.ADMIN))]
WebhookReader = Annotated[Caller, Depends(Admitted(Scope.JOBS_READ, keys_only=True))]
WebhookWriter = Annotated[Caller, Depends(Admitted(Scope.JOBS_WRITE, keys_only=True, also_reads=True))]
WebhookMaker = Annotated[Caller, Depends(Admitted(Scope.JOBS_WRITE, creates=True, keys_only=True, also_reads=True))]


def name_of(caller: Caller) -> str:
    """Return who acts, for the record: the key's name and id, never its secret."""
    return f"{caller.key.name} ({caller.key.id})"


def require_allowed(model: str, allowed: list[str] | None) -> None:
    """Raise PermissionDenied for a model that the project may not use."""
    if allowed is not None and model not in allowed:
        message = f"This project may use only: {', '.join(allowed)}. Ask your operator for other models."
        raise PermissionDenied(message, code="model_not_allowed", param="model")


def require_open(*, is_archived: bool) -> None:
    """Raise PermissionDenied for an archived project."""
    if is_archived:
        raise PermissionDenied("This project is archived: it takes no new jobs.", code="project_archived")
