"""What requests may hold and what lists look like. Errors in a body become one sentence with a dotted `param`."""

import difflib
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from app.api.errors import sentence
from app.api.wire import shown
from app.catalogue.catalogue import DEFAULT_MODEL
from app.domain.errors import InvalidRequest
from app.domain.money import Basis
from app.domain.views import JobView, TimelineView


def whole(value: Any) -> Any:
    """To JSON Schema 60.0 is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


MetadataKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]


class Request(BaseModel):
    """Base of what callers send: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class JobRequest(Request):
    """A job to make."""

    model: Annotated[str, StringConstraints(max_length=200)] = DEFAULT_MODEL
    input: dict[str, Any] = Field(default_factory=dict, description="The model's own parameters.")
    metadata: dict[MetadataKey, MetadataValue] = Field(
        default_factory=dict,
        max_length=16,
        description="Your own notes; jobs can be listed by them.",
        json_schema_extra={"additionalProperties": False},
    )
    max_cost_usd: Annotated[float, Field(ge=0.000_001, le=10_000, allow_inf_nan=False)] | None = Field(
        default=None, description="Refuse the job, before anything is spent, if its estimate is above this."
    )
    priority: Literal["low", "normal", "high"] = Field(
        default="normal", description="Orders your project's queued jobs."
    )
    on_unconfirmed: Literal["hold", "resubmit"] = Field(
        default="hold",
        description=(
            "What to do when nobody can tell whether the upstream accepted: `hold` waits for certainty; `resubmit` "
            "buys again once the upstream's log has shown nothing for hours, at the risk of paying twice."
        ),
    )
    start_within_seconds: Annotated[int, Field(ge=1, le=30 * 86_400), BeforeValidator(whole)] | None = Field(
        default=None, description="Fail the job, unbought, if it has not been submitted by then."
    )
    webhook_url: str | None = Field(
        default=None, description="Where this job's own events are sent as well. Only keys may set it."
    )
    reuse: bool = Field(
        default=False,
        description=(
            "Take the video of a finished job of yours with the same model, input and files, if one is still kept, "
            "at no cost. The input must name a `seed`."
        ),
    )


class RetryRequest(Request):
    """How to retry a job."""

    accept_new_charge: bool = Field(
        default=False, description="Needed when the job was or may have been billed: the retry is billed again."
    )


class RemixRequest(Request):
    """How to remix a video."""

    prompt: str = Field(description="The new prompt; all else stays.")


class Resolution(Request):
    """What an operator decides about a job that may have been bought."""

    action: Literal["attach", "not_created", "give_up"] = Field(
        description=(
            "`attach`: `generation_id` is this job's, once it was checked. `not_created`: nothing was bought, queue it "
            "again. `give_up`: fail it, charged as estimated."
        )
    )
    generation_id: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = Field(
        default=None, description="The upstream's id, for `attach` only."
    )

    @model_validator(mode="after")
    def _names_a_generation(self) -> "Resolution":
        named = "generation_id" in self.model_fields_set
        if named != (self.action == "attach") or (named and self.generation_id is None):
            raise ValueError("'attach' needs a generation_id, and the other actions take none")
        return self


class JobList(BaseModel):
    """One page of jobs."""

    object: Literal["list"] = "list"
    data: list[JobView]
    first_id: str | None
    last_id: str | None
    has_more: bool


class EventList(BaseModel):
    """One page of a job's timeline."""

    object: Literal["list"] = "list"
    data: list[TimelineView]
    has_more: bool


class Size(BaseModel):
    """Pixels, upright."""

    width: int
    height: int


class FileView(BaseModel):
    """An upload, as it is kept and sent upstream."""

    id: str
    object: Literal["file"] = "file"
    content_type: str = Field(description="What decoding found, whatever the upload was called.")
    size_bytes: int
    width: int | None = Field(description="Null for a sound.")
    height: int | None
    sha256: str
    scaled_from: Size | None = Field(description="What an image measured that was scaled down; null for all others.")
    created_at: datetime
    expires_at: datetime = Field(description="When it is deleted. A job that uses it moves this on.")


class QuoteView(BaseModel):
    """What a job is expected to cost."""

    estimated_usd: float | None = Field(description="Null while the price is not known ahead.")
    basis: Basis
    reserved_usd: float = Field(description="What it would reserve: the estimate, or the default where there is none.")
    assumption: str | None = Field(description="What the estimate had to assume.")


class EstimateView(BaseModel):
    """What would become of a job."""

    valid: bool = Field(description="Whether it would be taken: false where `max_cost_usd` can't be kept.")
    cost: QuoteView
    eta_seconds: int | None = Field(description="Roughly, until its end; null while nothing can be submitted.")
    queue_depth: int = Field(description="How many of the project's queued jobs would go first; 1000 for all above.")


class UsageRow(BaseModel):
    """What one group of jobs came to."""

    group: str | None = Field(description="The day (UTC), the model, the id of key or project, the subject; or null.")
    name: str | None = Field(description="The key's or the project's name, when grouped by these.")
    jobs: int
    seconds: float = Field(description="Seconds of finished video.")
    charged_usd: float
    open_usd: float = Field(description="Estimates of jobs whose cost is not known yet.")


class UsageTotal(BaseModel):
    """What all groups came to."""

    jobs: int
    seconds: float
    charged_usd: float
    open_usd: float


class MonthView(BaseModel):
    """How the project stands in this month (UTC). Jobs count in the month in which they were made."""

    month: str
    budget_usd: float | None = Field(description="Null for no cap.")
    spent_usd: float = Field(description="Charged so far, reported or estimated.")
    reserved_usd: float = Field(description="Kept for jobs whose charge is not known yet.")
    remaining_usd: float | None = Field(description="Below zero after an overrun; null without a budget.")


class UsageView(BaseModel):
    """What a project used, by day, model, key or subject. Jobs count at the moment they were created."""

    object: Literal["usage"] = "usage"
    start: datetime = Field(serialization_alias="from", description="The first moment counted.")
    end: datetime = Field(serialization_alias="to", description="The first moment not counted any more.")
    group_by: Literal["day", "model", "key", "subject", "project"]
    data: list[UsageRow] = Field(description="Days in order; all others with the dearest first.")
    has_more: bool = Field(description="Whether groups were left out of `data`; `total` holds them all.")
    total: UsageTotal
    month: MonthView | None = Field(description="The project's current month; null to keys bound to a subject.")


class ModelView(BaseModel):
    """A video model, in the shape of an OpenAI model and more."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    aliases: list[str] = Field(description="Other names of the model at the upstream; they can be asked for as well.")
    known: bool = Field(description="False for a model that only the upstream knows: its input is passed on unchecked.")
    available: bool | None = Field(description="Whether the upstream lists it now; null before its list was read.")
    input_schema: dict[str, Any] | None = Field(description="The model's parameters; null if it is not known.")
    pricing: dict[str, Any] | None = Field(description="The upstream's price rule; null while it is not known.")
    typical_seconds: float | None = Field(description="Learned from past jobs; null before the first.")


class ModelList(BaseModel):
    """Every model of this service."""

    object: Literal["list"] = "list"
    data: list[ModelView]


class Fault(BaseModel):
    """What went wrong."""

    type: str
    code: str
    message: str = Field(description="A sentence that says what to do.")
    param: str | None = Field(description="The field at fault, dotted.")
    request_id: str | None


class ErrorBody(BaseModel):
    """The answer to every request that was refused or failed."""

    error: Fault


MOST_FIELDS = 100
R = TypeVar("R", bound=Request)


def checked(given: dict[str, Any], *, schema: type[R], strict: bool) -> R:
    """Return the request; raise InvalidRequest for its first fault. Not `strict`: numbers may come as text."""
    refuse_crowds(given)
    try:
        return schema.model_validate(given, strict=strict)
    except ValidationError as error:
        # Pydantic reports unknown fields last: they are the likelier reason for what else is missing.
        faults = sorted(error.errors(include_url=False), key=lambda fault: fault["type"] != "extra_forbidden")
        raise _described(faults[0], schema=schema) from None


def refuse_crowds(given: dict[str, Any]) -> None:
    """Refuse absurd numbers of fields before each of them is looked at."""
    if len(given) > MOST_FIELDS:
        raise InvalidRequest(f"The body has more than {MOST_FIELDS} fields.")
    for name, value in given.items():
        if isinstance(value, dict) and len(value) > MOST_FIELDS:
            raise InvalidRequest(f"{shown(name)!r} has more than {MOST_FIELDS} fields.", param=shown(name))


def _described(fault: Any, *, schema: type[Request]) -> InvalidRequest:
    path = [shown(str(part)) for part in fault["loc"] if part != "[key]"]
    param = ".".join(path)
    if not path:
        return InvalidRequest(f"The body is wrong: {fault['msg'].removeprefix('Value error, ')}.")
    if fault["type"] != "extra_forbidden":
        return InvalidRequest(sentence(param, fault["msg"]), param=param)
    close = difflib.get_close_matches(path[-1], schema.model_fields, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    if not hint and "input" in schema.model_fields:
        hint = " Parameters of the model belong into 'input'."
    known = ", ".join(schema.model_fields)
    return InvalidRequest(
        f"There is no field {param!r}.{hint} The fields are: {known}.", code="unknown_field", param=param
    )
