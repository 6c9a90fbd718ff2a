"""What is sent to `/v1/admin` about projects, keys and the upstream, and what comes back."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints, WithJsonSchema

from app.api.schemas import Request, whole
from app.api.webhook_views import DeliveryView
from app.db.access import LONGEST_NAME, MOST_BUDGET_MICROS, MOST_OF_A_LIMIT, NAME, NAME_SIGNS, Key, Project
from app.db.ledger import Month
from app.domain.money import micros_to_usd

Name = Annotated[
    str,
    # As one pattern, pydantic's engine makes 10 MiB of it: all letters of Unicode, a hundred times.
    StringConstraints(pattern=f"^{NAME_SIGNS}+$", max_length=LONGEST_NAME),
    WithJsonSchema({"type": "string", "pattern": f"^{NAME}$"}),
]
Count = Annotated[int, Field(ge=1, le=MOST_OF_A_LIMIT), BeforeValidator(whole)]
Budget = Annotated[float, Field(ge=0, le=MOST_BUDGET_MICROS // 1_000_000, allow_inf_nan=False)]
LONGEST_REASON = 500


class ProjectLimits(Request):
    """What a project may use. What is left out stays as it is; null lifts a limit."""

    monthly_budget_usd: Budget | None = Field(
        default=None, description="The most that may be reserved and spent in a month (UTC)."
    )
    max_in_flight: Count | None = Field(default=None, description="The most generations at once.")
    requests_per_minute: Count | None = Field(default=None, description="Over all its keys, in each API process.")
    models: Annotated[list[str], Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="Ids of the only models that its jobs may use."
    )


class ProjectRequest(ProjectLimits):
    """A project to make. What is left out is not limited."""

    name: Name = Field(description="Letters, digits, spaces and `. : @ / - _`; no other project's.")


class ProjectMonth(BaseModel):
    """What a project has come to in this month (UTC)."""

    spent_usd: float = Field(description="Charged so far, reported or estimated.")
    reserved_usd: float = Field(description="Kept for jobs whose charge is not known yet.")
    jobs: int = Field(description="How many were made.")


class ProjectView(BaseModel):
    """A project, its limits, and its month."""

    id: str
    object: Literal["project"] = "project"
    name: str
    created_at: datetime
    archived_at: datetime | None
    monthly_budget_usd: float | None = Field(description="Null for no cap.")
    max_in_flight: int | None
    requests_per_minute: int | None
    models: list[str] | None = Field(description="Ids of the only models that its jobs may use; null for all.")
    month: ProjectMonth


class ArchivedProject(ProjectView):
    """A project that makes no more jobs."""

    canceled_jobs: int = Field(description="How many of its queued jobs this request canceled.")


class ProjectList(BaseModel):
    """One page of projects."""

    object: Literal["list"] = "list"
    data: list[ProjectView]
    first_id: str | None
    last_id: str | None
    has_more: bool


class KeyRequest(Request):
    """A key to make."""

    name: Name = Field(description="What the key is for.")
    scopes: Annotated[list[Literal["jobs:read", "jobs:write", "admin"]], Field(min_length=1, max_length=3)] = Field(
        default=["jobs:read", "jobs:write"], description="`admin` is granted by `reelay keys create` on the host only."
    )
    subject: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = Field(
        default=None, description="The one end user whose jobs it makes and sees."
    )
    expires_in_days: Annotated[int, Field(ge=1, le=3650), BeforeValidator(whole)] | None = Field(
        default=None, description="By default it never expires."
    )
    requests_per_minute: Count | None = Field(
        default=None, description="What it may send, and each client token of it; in each API process."
    )


class KeyView(BaseModel):
    """A key, without its secret."""

    id: str
    object: Literal["key"] = "key"
    project_id: str
    name: str
    hint: str = Field(description="The first and last characters of the secret; `none` for people who sign in.")
    scopes: list[str]
    subject: str | None
    requests_per_minute: int | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class CreatedKey(KeyView):
    """A key with its secret, which is shown this once."""

    key: str


class KeyList(BaseModel):
    """One page of keys."""

    object: Literal["list"] = "list"
    data: list[KeyView]
    first_id: str | None
    last_id: str | None
    has_more: bool


class PauseRequest(Request):
    """Why nothing is to be submitted."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_REASON)] | None = Field(
        default=None, description="For those who look at the upstream; owners of jobs see only that it is paused."
    )


class PauseView(BaseModel):
    """Since when, by whom and why nothing is submitted."""

    since: datetime
    by: str
    reason: str | None


class UpstreamView(BaseModel):
    """How submissions to the upstream stand."""

    object: Literal["upstream"] = "upstream"
    paused: PauseView | None = Field(description="An operator's pause; null if there is none.")
    hold: str | None = Field(description="Why all submissions hold; null if they do not.")
    hold_since: datetime | None
    next_try_at: datetime | None = Field(description="When a probe or one trial job goes out.")
    model_holds: dict[str, str] = Field(description="Why submissions of single models hold, by model.")
    pace_per_minute: float | None = Field(description="The pace after a rate limit; null for no limit.")
    in_flight: int = Field(description="The upstream's places that are taken.")
    unconfirmed: int = Field(description="Jobs that may have been bought without an answer.")
    unresolved: int = Field(description="Those among them that the log shows no trace of: a person must decide.")
    parked: int = Field(description="Jobs of a restored database that wait until the log has been read.")
    stray_purchases: int = Field(description="Purchases that the log shows and no job carries.")
    log_read_at: datetime | None = Field(description="When the usage log was last read to its end.")
    balance_usd: float | None = Field(description="What the account held then; null if the upstream did not say.")
    balance_at: datetime | None = Field(description="When a worker last looked; null if none has.")


class FiledDelivery(DeliveryView):
    """One event owed to one URL of some project."""

    project_id: str
    webhook_id: str
    host: str = Field(description="Where it goes: the URL's host alone.")


class FiledDeliveryList(BaseModel):
    """One page of deliveries."""

    object: Literal["list"] = "list"
    data: list[FiledDelivery]
    first_id: str | None
    last_id: str | None
    has_more: bool


def project_view(project: Project, month: Month, *, jobs: int) -> ProjectView:
    """Render a project with its month."""
    budget = project.monthly_budget_micros
    return ProjectView(
        id=project.id,
        name=project.name,
        created_at=project.created_at,
        archived_at=project.archived_at,
        monthly_budget_usd=None if budget is None else micros_to_usd(budget),
        max_in_flight=project.max_in_flight,
        requests_per_minute=project.requests_per_minute,
        models=project.models,
        month=ProjectMonth(
            spent_usd=micros_to_usd(month.spent_micros), reserved_usd=micros_to_usd(month.reserved_micros), jobs=jobs
        ),
    )


def shown_key(key: Key) -> dict[str, Any]:
    """Return a key's fields as they are shown."""
    return {name: getattr(key, name) for name in Key.__dataclass_fields__} | {"scopes": sorted(key.scopes)}
