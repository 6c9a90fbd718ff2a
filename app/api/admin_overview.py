"""/v1/admin/overview and /v1/admin/usage: what an operator looks at first. Needs a key with the scope `admin`."""

from datetime import datetime
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from app.api import describing
from app.api.admin_jobs import EVERYBODY
from app.api.deps import Admin, HouseDep
from app.api.schemas import MonthView, UsageView
from app.api.usage import From, To, month_view, report
from app.db import figures, ledger, overview
from app.db.engine import Connection
from app.db.overview import Standing
from app.db.usage import GroupBy
from app.domain.money import micros_to_usd
from app.domain.states import JobState

router = APIRouter(prefix="/v1/admin", tags=["admin"])
HELD: Literal["held"] = "held"


class StandingView(BaseModel):
    """How many jobs stand there, and since when the oldest exists."""

    state: JobState | Literal["held"] = Field(
        description="A state that is not final; `held` counts the queued jobs that something stands in the way of."
    )
    count: int
    oldest_at: datetime | None = Field(description="When the oldest of them was made; null without any.")


class OwedView(BaseModel):
    """How deliveries to webhooks stand."""

    owed: int
    oldest_due_at: datetime | None
    disabled_endpoints: int = Field(description="Those that were disabled because they are gone or were failing.")


class WorkerView(BaseModel):
    """A worker of the last day."""

    id: str = Field(description="Begins with its host.")
    started_at: datetime
    seen_at: datetime = Field(description="When it last said that it lives, which it does every few seconds.")


class OverviewView(BaseModel):
    """How the whole service stands."""

    object: Literal["overview"] = "overview"
    at: datetime
    jobs: list[StandingView]
    unconfirmed_usd: float = Field(description="Estimates of the jobs that may have been bought without an answer.")
    webhooks: OwedView
    workers: list[WorkerView]
    month: MonthView = Field(description="Of all projects together. Without a budget for each there is none.")


@router.get(
    "/overview",
    summary="How the whole service stands",
    response_model=OverviewView,
    responses=describing.answers(400, 401, 403, 503),
)
async def read_overview(caller: Admin, house: HouseDep) -> OverviewView:
    """Jobs that are not finished, money in doubt, deliveries owed, workers, and the month of all projects.

    It costs little, however many jobs have ended.
    """
    return await house.db.read(lambda conn: _view(conn, now=house.db.now(conn)))


def _view(conn: Connection, *, now: datetime) -> OverviewView:
    owed = figures.backlog(conn)
    return OverviewView(
        at=now,
        jobs=[
            *(_standing(state, found) for state, found in overview.unfinished(conn).items()),
            _standing(HELD, overview.held(conn)),
        ],
        unconfirmed_usd=micros_to_usd(figures.doubts(conn).micros),
        webhooks=OwedView(
            owed=owed.owed,
            oldest_due_at=owed.oldest_due_at,
            disabled_endpoints=overview.endpoints_given_up(conn),
        ),
        workers=[
            WorkerView(id=worker.id, started_at=worker.started_at, seen_at=worker.seen_at)
            for worker in overview.workers_seen(conn)
        ],
        month=month_view(ledger.month_in_all(conn, now)),
    )


def _standing(state: JobState | Literal["held"], found: Standing) -> StandingView:
    return StandingView(state=state, count=found.count, oldest_at=found.oldest_at)


@router.get(
    "/usage",
    summary="What all projects used",
    response_model=UsageView,
    responses=describing.answers(400, 401, 403, 503),
)
async def read_all_usage(
    *,
    caller: Admin,
    house: HouseDep,
    start: From = None,
    end: To = None,
    group_by: Literal["day", "model", "project"] = "day",
) -> Response:
    """Jobs, seconds of video and dollars of every project. `month` is that of all of them together."""
    by = GroupBy(group_by)
    return await report(house, EVERYBODY, start=start, end=end, group_by=by, month=ledger.month_in_all)
