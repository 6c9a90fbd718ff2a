"""The upstream's usage log as we see it: one row a request, told apart from others' by the ids that we sent along."""

import re
from dataclasses import dataclass
from datetime import datetime

_OWN = re.compile(r"rly:([A-Za-z0-9]+):(job_[A-Za-z0-9]+):([0-9]{1,6})")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedRequest:
    """One row. `succeeded` proves a purchase, False that this request cost nothing; None is a word never seen before,
    and proves neither. No row at all proves nothing for hours."""

    request_id: str
    """The `X-Client-Request-Id` that was sent along; empty where none was."""
    inference_id: str | None
    """For a generation, its id."""
    succeeded: bool | None
    model: str
    credits: int | None
    created_at: datetime | None


def request_id(deployment: str, job_id: str, n: int) -> str:
    """Return what the log will know a job's attempt by: never anything that a caller chose."""
    return f"rly:{deployment}:{job_id}:{n}"


def own_attempt(text: str, *, deployment: str) -> tuple[str, int] | None:
    """Return the job and the number of the attempt; None for what another deployment, or somebody else, sent."""
    found = _OWN.fullmatch(text)
    return (found[2], int(found[3])) if found and found[1] == deployment else None


def same_generation(one: str, other: str) -> bool:
    """Tell whether two ids name one generation: an id comes as `UUID` or as `UUID:model-id`."""
    return one == other or one.startswith(f"{other}:") or other.startswith(f"{one}:")


def same_model(ours: str, theirs: str) -> bool:
    """Tell whether two names may mean one model: the log may add the vendor to an alias that callers use."""
    return ours == theirs or theirs.endswith(f"/{ours}") or ours.endswith(f"/{theirs}")
