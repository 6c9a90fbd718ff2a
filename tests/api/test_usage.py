"""Usage over HTTP: the window asked for, the caller's own jobs, dollars at the border."""

from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from app.api import usage
from app.api.callers import Caller
from app.db.engine import Database
from app.domain.states import JobState
from tests.api.conftest import ClientFor, require_error
from tests.conftest import Clock, one_database
from tests.factories import MODEL, make_caller, make_job

NOON = datetime(2026, 11, 5, 12, tzinfo=UTC)


async def report(client: httpx2.AsyncClient, **query: str) -> dict[str, Any]:
    answer = await client.get("/v1/usage", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_usage__by_day(client: httpx2.AsyncClient, database: Database, me: Caller) -> None:
    make_job(database, me, created_at=NOON, charged_micros=2_500_000, charge_basis="reported", video_seconds=5.0)
    make_job(database, me, created_at=NOON.replace(day=7), estimated_micros=1_500_000)
    assert await report(client, **{"from": "2026-11-05", "to": "2026-11-07"}) == {
        "object": "usage",
        "from": "2026-11-05T00:00:00Z",
        "to": "2026-11-08T00:00:00Z",
        "group_by": "day",
        "data": [
            {"group": "2026-11-05", "name": None, "jobs": 1, "seconds": 5.0, "charged_usd": 2.5, "open_usd": 0.0},
            {"group": "2026-11-07", "name": None, "jobs": 1, "seconds": 0.0, "charged_usd": 0.0, "open_usd": 1.5},
        ],
        "has_more": False,
        "total": {"jobs": 2, "seconds": 5.0, "charged_usd": 2.5, "open_usd": 1.5},
        "month": {
            "month": f"{datetime.now(UTC):%Y-%m}",
            "budget_usd": None,
            "spent_usd": 0.0,
            "reserved_usd": 0.0,
            "remaining_usd": None,
        },
    }


async def test_usage__of_this_month_unless_asked(
    client: httpx2.AsyncClient, database: Database, me: Caller, clock: Clock
) -> None:
    clock.offset = NOON - datetime.now(UTC)
    make_job(database, me, created_at=NOON.replace(month=10))
    make_job(database, me, created_at=NOON.replace(day=1, hour=0))
    found = await report(client, group_by="model")
    assert (found["from"], found["to"][:10]) == ("2026-11-01T00:00:00Z", "2026-11-05")
    assert [(row["group"], row["jobs"]) for row in found["data"]] == [(MODEL, 1)]


@one_database
async def test_usage__by_key_names_it(client: httpx2.AsyncClient, database: Database, me: Caller) -> None:
    make_job(database, me, state=JobState.SUCCEEDED)
    [row] = (await report(client, group_by="key", **{"from": "2026-01-01"}))["data"]
    assert (row["group"], row["name"]) == (me.key.id, "test")


@one_database
async def test_usage__is_the_callers_own(client_for: ClientFor, database: Database, me: Caller) -> None:
    ann, secret = make_caller(database, subject="ann")
    make_job(database, me)
    make_job(database, ann)
    _, other = make_caller(database, project="other")
    assert (await report(client_for(secret), group_by="subject"))["total"]["jobs"] == 1
    assert (await report(client_for(other)))["total"]["jobs"] == 0


@one_database
async def test_usage__total_holds_the_groups_left_out(
    client: httpx2.AsyncClient, database: Database, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "MOST_GROUPS", 1)
    for subject in ("ann", "bob"):
        make_job(database, me, subject=subject)
    found = await report(client, group_by="subject")
    assert (len(found["data"]), found["has_more"], found["total"]["jobs"]) == (1, True, 2)


@one_database
@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-02-30"}, "to"),
        ({"from": "2026-11-06", "to": "2026-11-05"}, None),
        ({"group_by": "week"}, "group_by"),
        ({"limit": "3"}, "limit"),
    ],
)
async def test_usage__says_which_parameter_is_wrong(
    client: httpx2.AsyncClient, query: dict[str, str], param: str | None
) -> None:
    answer = await client.get("/v1/usage", params=query)
    if param is None:  # to the end of the fifth is the start of the sixth
        assert answer.json()["data"] == []
        answer = await client.get("/v1/usage", params={"from": "2026-11-07", "to": "2026-11-05"})
        param = "from"
    require_error(answer, 400, param=param)


@one_database
async def test_usage__the_last_day_of_the_calendar_ends(client: httpx2.AsyncClient) -> None:
    assert (await report(client, to="9999-12-31"))["to"].startswith("9999-12-31T23:59:59")
