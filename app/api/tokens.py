"""/v1/tokens: short-lived secrets for browsers, minted, listed and revoked with a key."""

from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, Field, StringConstraints
from starlette.responses import Response

from app.api import asking, describing, estimating, listing, offering, wire
from app.api.callers import Caller
from app.api.deps import House, HouseDep, KeyHolder, Minter, require_working
from app.api.offering import Offer
from app.api.replies import NEVER_KEPT, reply
from app.api.schemas import Request as Sent
from app.api.schemas import checked, whole
from app.db import acts, tokens
from app.db.creations import Asked
from app.db.engine import Connection
from app.db.tokens import Grant, Token
from app.domain.money import micros_to_usd
from app.domain.origins import PATTERN, origin
from app.domain.secrets import Scope

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/v1/tokens", tags=["client tokens"])
Origin = Annotated[str, StringConstraints(pattern=PATTERN, max_length=255)]


class TokenRequest(Sent):
    """What a client token is to allow. What is left out is not capped, but by the key."""

    ttl_seconds: Annotated[int, Field(ge=1, le=3600), BeforeValidator(whole)] = Field(
        default=900, description="How long it works; never longer than its key."
    )
    scopes: Annotated[list[Literal["jobs:read", "jobs:write", "admin"]], Field(min_length=1, max_length=3)] | None = (
        Field(default=None, description="Of the key's, by default all. `admin` is never granted.")
    )
    models: Annotated[list[str], Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="Ids of the only models that its jobs may use."
    )
    max_jobs: Annotated[int, Field(ge=1, le=1_000_000), BeforeValidator(whole)] | None = Field(
        default=None, description="How many jobs it may make in all; canceled and failed ones count."
    )
    max_cost_usd: Annotated[float, Field(ge=0.000_001, le=10_000, allow_inf_nan=False)] | None = Field(
        default=None, description="What its jobs may reserve and cost together."
    )
    origins: Annotated[list[Origin], Field(min_length=1, max_length=20)] | None = Field(
        default=None, description="Origins of the only pages on which it works."
    )
    subject: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = Field(
        default=None, description="Whose jobs it makes and sees. Without one it sees the jobs it made itself."
    )


class TokenView(BaseModel):
    """A client token, without its secret."""

    id: str
    object: Literal["token"] = "token"
    hint: str = Field(description="The first and last characters of the secret.")
    key_id: str = Field(description="The key that minted it, and with which it ends.")
    scopes: list[str]
    models: list[str] | None
    origins: list[str] | None
    subject: str
    max_jobs: int | None
    jobs_made: int
    max_cost_usd: float | None
    cost_usd: float = Field(description="What its jobs have cost, and what is reserved for those under way.")
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


class MintedToken(TokenView):
    """A client token with its secret, which is shown this once."""

    token: str


class TokenList(BaseModel):
    """One page of client tokens."""

    object: Literal["list"] = "list"
    data: list[TokenView]
    first_id: str | None
    last_id: str | None
    has_more: bool


_BODY: dict[str, Any] = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": TokenRequest.model_json_schema(),
                "example": {"ttl_seconds": 900, "max_jobs": 1, "max_cost_usd": 3.5, "subject": "user-42"},
            }
        }
    }
}


@router.post(
    "",
    status_code=201,
    summary="Mint a client token",
    response_model=MintedToken,
    responses=describing.answers(400, 401, 403, 409, 410, 413, 415, 422, 429, 503),
    openapi_extra=_BODY | describing.IDEMPOTENCY_KEY,
)
async def mint_token(request: Request, caller: Minter, house: HouseDep) -> Response:
    """Mint a secret for a browser: short-lived, and narrower than the key. It is shown in this answer only.

    Sent again with the same `Idempotency-Key` the request gets 409: the secret is not stored anywhere.
    """
    key = asking.idempotency_key(request)
    body = await wire.parse_optional(request, cap=house.max_body_bytes)
    asked = asking.read(request, body.fingerprint, idempotency_key=key, caller=caller)
    grant = _grant(checked(body.content, schema=TokenRequest, strict=True), await offering.offer(house))
    minting = partial(_mint, asked=asked, grant=grant, caller=caller, house=house)
    token, secret = await house.db.write(minting, by=caller.actor)
    log.info("token_minted", token_id=token.id, key_id=caller.key.id)
    view = MintedToken(**_shown(token), token=secret)
    return reply(view.model_dump_json(), status=201, cache=NEVER_KEPT)


def _grant(wish: TokenRequest, offer: Offer) -> Grant:
    return Grant(
        lifetime=timedelta(seconds=wish.ttl_seconds),
        scopes=None if wish.scopes is None else frozenset(map(Scope, wish.scopes)),
        models=None if wish.models is None else frozenset(offering.ids_of(wish.models, offer)),
        origins=None if wish.origins is None else frozenset(map(origin, wish.origins)),
        subject=wish.subject,
        max_jobs=wish.max_jobs,
        max_cost_micros=estimating.cap_of(wish.max_cost_usd),
    )


def _mint(conn: Connection, *, asked: Asked, grant: Grant, caller: Caller, house: House) -> tuple[Token, str]:
    """The transaction. Raises what a replay of the request gets: the secret was shown and is nowhere to be read."""
    now = house.db.now(conn)
    require_working(conn, caller, now=now)
    token, secret = tokens.mint(conn, caller.key, grant, now=now)
    asking.remember_secret(conn, asked, made_id=token.id, now=now)
    acts.note(conn, "token.minted", target=token.id, project_id=token.project_id, now=now)
    return token, secret


@router.get(
    "",
    summary="List client tokens",
    response_model=TokenList,
    responses=describing.answers(400, 401, 403, 503),
)
async def list_tokens(
    *,
    caller: KeyHolder,
    house: HouseDep,
    limit: listing.Limit = 20,
    after: listing.After = None,
) -> Response:
    """The project's tokens, newest first, with what they have used; those of the last 30 days."""

    def show(conn: Connection) -> str:
        found, has_more = tokens.page(conn, caller.key, limit=limit, after=after)
        data = [TokenView(**_shown(token)) for token in found]
        return TokenList(**listing.page(data, has_more=has_more)).model_dump_json()

    return reply(await house.db.read(show))


@router.delete(
    "/{token_id}",
    status_code=204,
    summary="Revoke a client token",
    responses=describing.answers(400, 401, 403, 404, 503),
)
async def revoke_token(token_id: str, caller: KeyHolder, house: HouseDep) -> Response:
    """End a token and the links signed in its name, within five seconds. Its jobs go on."""

    def revoke(conn: Connection) -> None:
        now = house.db.now(conn)
        if tokens.revoke(conn, token_id, by=caller.key, now=now):
            acts.note(conn, "token.revoked", target=token_id, project_id=caller.key.project_id, now=now)

    await house.db.write(revoke, by=caller.actor)
    log.info("token_revoked", token_id=token_id[:80], key_id=caller.key.id)
    return Response(status_code=204)


def _shown(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "hint": token.hint,
        "key_id": token.key_id,
        "scopes": sorted(token.scopes),
        "models": None if token.models is None else sorted(token.models),
        "origins": None if token.origins is None else sorted(token.origins),
        "subject": token.subject,
        "max_jobs": token.max_jobs,
        "jobs_made": token.jobs_made,
        "max_cost_usd": None if token.max_cost_micros is None else micros_to_usd(token.max_cost_micros),
        "cost_usd": micros_to_usd(token.held_micros + token.spent_micros),
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
    }
