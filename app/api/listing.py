"""What a list of jobs may be narrowed to: query parameters in, a filter out."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Query, Request

from app.api.wire import shown
from app.db.jobs import Filter
from app.domain.errors import InvalidRequest
from app.domain.states import JobState, PublicStatus, states_of

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[ +-]\d\d:\d\d)", re.ASCII)
_METADATA = re.compile(r"metadata\[([A-Za-z0-9_.-]{1,64})\]")
MOST_PAIRS = 16
LONGEST_VALUE = 512

After = Annotated[str | None, Query(description="The `last_id` of the page before.", max_length=100)]
Limit = Annotated[int, Query(ge=1, le=100)]
Moment = Annotated[
    str | None, Query(description="RFC 3339, with its offset.", json_schema_extra={"format": "date-time"})
]


def page(data: list[Any], *, has_more: bool) -> dict[str, Any]:
    """Return the fields of one page of a list, which holds these."""
    first_id, last_id = (data[0].id, data[-1].id) if data else (None, None)
    return {"data": data, "first_id": first_id, "last_id": last_id, "has_more": has_more}


async def _filter_of(
    request: Request,
    *,
    status: Annotated[PublicStatus | None, Query(description="Only jobs with this public status.")] = None,
    state: Annotated[JobState | None, Query(description="Only jobs in this state.")] = None,
    model: Annotated[str | None, Query(max_length=200, description="Only jobs of this model.")] = None,
    created_after: Moment = None,
    created_before: Moment = None,
) -> Filter:
    """Return the filter; raise InvalidRequest naming the parameter at fault. Async, so that no thread is needed."""
    states = None if status is None else states_of(status)
    if state is not None:
        states = frozenset({state}) if states is None else states & {state}
    return Filter(
        states=states,
        model=model,
        created_after=moment_of(created_after, param="created_after"),
        created_before=moment_of(created_before, param="created_before"),
        metadata=_metadata(request),
    )


Narrowed = Annotated[Filter, Depends(_filter_of)]


def moment_of(text: str | None, *, param: str) -> datetime | None:
    """Read an RFC 3339 time. A space stands where a '+' of the offset was not escaped in the URL."""
    if text is None:
        return None
    try:
        if not _MOMENT.fullmatch(text):
            raise ValueError(text)
        return datetime.fromisoformat(f"{text[:19]}{text[19:].replace(' ', '+')}".upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        message = f"{param!r} must be a time with an offset (RFC 3339), such as 2026-11-05T09:30:00Z."
        raise InvalidRequest(message, param=param) from None


def _metadata(request: Request) -> dict[str, str]:
    """Read the `metadata[key]=value` pairs."""
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if not name.startswith("metadata"):
            continue
        key = _METADATA.fullmatch(name)
        if key is None or key[1] in found or len(value) > LONGEST_VALUE or len(found) == MOST_PAIRS:
            raise InvalidRequest(
                f"Narrow by metadata with metadata[key]=value, each key once, at most {MOST_PAIRS} of them, "
                f"values up to {LONGEST_VALUE} characters.",
                param=shown(name),
            )
        found[key[1]] = value
    return found
