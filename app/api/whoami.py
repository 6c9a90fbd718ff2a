"""GET /v1/whoami: what a credential is and may do, for pages that were handed one."""

from datetime import datetime
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from app.api import describing
from app.api.deps import Anybody
from app.domain.secrets import DEFAULT_SCOPES, Scope

router = APIRouter(prefix="/v1/whoami", tags=["credentials"])


class ProjectName(BaseModel):
    """The project that a credential opens."""

    id: str
    name: str


class CredentialView(BaseModel):
    """The credential that the request came with."""

    object: Literal["credential"] = "credential"
    kind: Literal["key", "token", "sign-in"]
    key_id: str = Field(description="The key; of a token the one that minted it, of a sign-in that of its project.")
    token_id: str | None = Field(description="Null unless it is a client token.")
    project: ProjectName
    scopes: list[Literal["admin", "jobs:read", "jobs:write"]] = Field(description="With `admin` also what it includes.")
    subject: str | None = Field(description="Whose jobs it sees; null for all of the project.")
    expires_at: datetime | None = Field(description="When it ends by itself; null for never.")


@router.get(
    "",
    summary="Read what the credential is",
    response_model=CredentialView,
    responses=describing.answers(400, 401, 403, 503),
)
async def read_credential(caller: Anybody) -> Response:
    """What the credential of this very request is, whose jobs it sees and what it may do. It needs no scope."""
    scopes = caller.key.scopes | (DEFAULT_SCOPES if Scope.ADMIN in caller.key.scopes else frozenset())
    view = CredentialView.model_validate(
        {
            "kind": caller.kind,
            "key_id": caller.key.id,
            "token_id": caller.token_id,
            "project": {"id": caller.project.id, "name": caller.project.name},
            "scopes": sorted(scopes),
            "subject": caller.key.subject,
            "expires_at": caller.key.expires_at,
        }
    )
    return Response(
        view.model_dump_json(), media_type="application/json", headers={"Cache-Control": "private, no-store"}
    )
