"""GET /v1/usage: what a project used, for whoever pays for it."""

import re
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from app.api import describing
from app.api.deps import House, HouseDep, Reader
from app.api.listing import moment_of
from app.api.replies import reply
from app.api.schemas import MonthView, UsageRow, UsageTotal, UsageView
from app.db import ledger, usage
from app.db.engine import Connection
from app.db.jobs import Owner
from app.db.ledger import Month
from app.db.usage import GroupBy, Sums
from app.domain.errors import InvalidRequest
from app.domain.money import micros_to_usd

router = APIRouter(prefix="/v1/usage", tags=["usage"])
MOST_GROUPS = 1000
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_BOUNDARY: dict[str, Any] = {"anyOf": [{"type": "string", "format": kind} for kind in ("date-time", "date")]}

From = Annotated[
    str | None,
    Query(
        alias="from",
        description="A time (RFC 3339), or a date: from its start, in UTC. By default the first of this month.",
        json_schema_extra=_BOUNDARY,
    ),
]
To = Annotated[
    str | None,
    Query(
        alias="to",
        description="A time, itself not counted, or a date: to its end. By default now.",
        json_schema_extra=_BOUNDARY,
    ),
]

OfProject = Literal["day", "model", "key", "subject"]


@router.get(
    "",
    summary="What the project used",
    response_model=UsageView,
    responses=describing.answers(400, 401, 403, 503),
)
async def read_usage(
    *, caller: Reader, house: HouseDep, start: From = None, end: To = None, group_by: OfProject = "day"
) -> Response:
    """Jobs, seconds of video and dollars. Deleted jobs count too; a key bound to a subject sees its own jobs only."""
    owner = caller.owner

    def month(conn: Connection, now: datetime) -> Month | None:
        return None if owner.subject else ledger.read_month(conn, caller.project.id, now)

    return await report(house, owner, start=start, end=end, group_by=GroupBy(group_by), month=month)


async def report(
    house: House,
    owner: Owner,
    *,
    start: str | None,
    end: str | None,
    group_by: GroupBy,
    month: Callable[[Connection, datetime], Month | None],
) -> Response:
    """Answer with what the jobs of `owner` came to, and how `month` says that the present one stands."""
    given = _boundary(start, param="from"), _boundary(end, param="to")

    def summed(conn: Connection) -> UsageView:
        now = house.db.now(conn)
        first, last = _window(*given, now=now)
        found = usage.groups(conn, owner=owner, start=first, end=last, group_by=group_by, limit=MOST_GROUPS + 1)
        standing = month(conn, now)
        return UsageView(
            start=first,
            end=last,
            group_by=group_by.value,
            data=[UsageRow(group=row.group, name=row.name, **_sums(row.sums)) for row in found[:MOST_GROUPS]],
            has_more=len(found) > MOST_GROUPS,
            total=UsageTotal(**_sums(usage.total(conn, owner=owner, start=first, end=last))),
            month=None if standing is None else month_view(standing),
        )

    view = await house.db.read(summed)
    return reply(view.model_dump_json(by_alias=True))


def _boundary(text: str | None, *, param: str) -> datetime | None:
    """Read a time, or a date: its start for `from`, its end for `to`."""
    if text is None or not _DATE.fullmatch(text):
        return moment_of(text, param=param)
    try:
        day = datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise InvalidRequest(f"{param!r} is no date of the calendar.", param=param) from None
    last = datetime.max.replace(tzinfo=UTC)
    return min(day, last - timedelta(days=1)) + timedelta(days=1) if param == "to" else day


def _window(start: datetime | None, end: datetime | None, *, now: datetime) -> tuple[datetime, datetime]:
    last = end or now
    first = start or last.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    if first > last:
        raise InvalidRequest("'from' is later than 'to'.", code="invalid_range", param="from")
    return first, last


def month_view(month: Month) -> MonthView:
    """Render a month's sums."""

    def usd(micros: int | None) -> float | None:
        return None if micros is None else micros_to_usd(micros)

    return MonthView(
        month=month.month,
        budget_usd=usd(month.budget_micros),
        spent_usd=micros_to_usd(month.spent_micros),
        reserved_usd=micros_to_usd(month.reserved_micros),
        remaining_usd=usd(month.remaining_micros),
    )


def _sums(sums: Sums) -> dict[str, Any]:
    shown = asdict(sums)
    return {
        "jobs": shown["jobs"],
        "seconds": round(shown["seconds"], 3),
        "charged_usd": micros_to_usd(sums.charged_micros),
        "open_usd": micros_to_usd(sums.open_micros),
    }
