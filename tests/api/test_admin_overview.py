"""What an operator looks at first: what is not finished, money, deliveries and usage, of every project."""

import httpx2

from app.api.callers import Caller
from app.db import deployment, gate, webhooks
from app.db.engine import Database
from app.db.tables import deliveries
from app.domain.sealing import Sealer
from app.domain.states import JobState
from app.domain.webhooks import Delivery, Disabled
from tests.api.conftest import require_error
from tests.factories import INPUT, make_caller, make_job

OTHER = "news"


def hooked(database: Database, caller: Caller, url: str) -> str:
    with database.transaction() as conn:
        now = database.now(conn)
        return webhooks.create(conn, caller.key, url=url, events=None, sealer=Sealer(b"s"), now=now)[0].id


async def test_overview__counts_what_is_not_finished(
    operator: httpx2.AsyncClient, client: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    other, _ = make_caller(database, project=OTHER)
    oldest = make_job(database, me)
    made = make_job(database, other, model="veo2")
    for state in (JobState.GENERATING, JobState.SAVING, JobState.SUCCEEDED, JobState.FAILED):
        make_job(database, me, state=state)
    make_job(database, other, state=JobState.UNCONFIRMED, estimated_micros=2_500_000)
    with database.transaction() as conn:
        now = database.now(conn)
        gate.hold_model(conn, "veo2", now=now, until=now, reason="model_forbidden", level=1)
        deployment.beat(conn, "host:1", now=now)
    shown = (await operator.get("/v1/admin/overview")).json()
    counts = {row["state"]: row["count"] for row in shown["jobs"]}
    assert counts == {
        "queued": 2,
        "submitting": 0,
        "unconfirmed": 1,
        "generating": 1,
        "saving": 1,
        "abandoned": 0,
        "held": 1,
    }
    since = {row["state"]: row["oldest_at"] for row in shown["jobs"]}
    seen = (await operator.get("/v1/admin/jobs", params={"state": "queued"})).json()["data"]
    created = {row["id"]: row["created_at"] for row in seen}
    assert (since["queued"], since["held"], since["abandoned"]) == (created[oldest.id], created[made.id], None)
    assert (shown["unconfirmed_usd"], [worker["id"] for worker in shown["workers"]]) == (2.5, ["host:1"])
    await operator.post("/v1/admin/upstream/pause")
    paused = (await operator.get("/v1/admin/overview")).json()
    assert [row["count"] for row in paused["jobs"] if row["state"] == "held"] == [2]


async def test_overview__sums_the_month_of_all(
    operator: httpx2.AsyncClient, client: httpx2.AsyncClient, me: Caller
) -> None:
    month = (await operator.get("/v1/admin/overview")).json()["month"]
    assert (month["budget_usd"], month["remaining_usd"], month["reserved_usd"]) == (None, None, 0.0)
    for project in (await operator.get("/v1/admin/projects")).json()["data"]:
        mine = 20 if project["id"] == me.project.id else 0
        await operator.patch(f"/v1/admin/projects/{project['id']}", json={"monthly_budget_usd": mine})
    other = (await operator.post("/v1/admin/projects", json={"name": OTHER})).json()["id"]
    assert (await operator.get("/v1/admin/overview")).json()["month"]["budget_usd"] is None  # the other has no cap
    await operator.patch(f"/v1/admin/projects/{other}", json={"monthly_budget_usd": 30})
    assert (await client.post("/v1/jobs", json={"input": INPUT})).status_code == 201
    month = (await operator.get("/v1/admin/overview")).json()["month"]
    assert (month["budget_usd"], month["reserved_usd"], month["remaining_usd"]) == (50.0, 5.0, 45.0)


async def test_usage__of_all_projects_by_project(operator: httpx2.AsyncClient, database: Database, me: Caller) -> None:
    other, _ = make_caller(database, project=OTHER)
    for caller in (me, me, other):
        make_job(database, caller, estimated_micros=2_000_000)
    used = (await operator.get("/v1/admin/usage", params={"group_by": "project"})).json()
    assert {(row["group"], row["name"], row["jobs"], row["open_usd"]) for row in used["data"]} == {
        (me.project.id, "films", 2, 4.0),
        (other.project.id, OTHER, 1, 2.0),
    }
    assert (used["total"]["jobs"], used["month"]["reserved_usd"]) == (3, 0.0)
    require_error(await operator.get("/v1/admin/usage", params={"group_by": "key"}), 400, param="group_by")


async def test_deliveries__of_all_projects_are_listed_and_sent_again(
    operator: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    other, _ = make_caller(database, project=OTHER)
    hooks = [hooked(database, me, "https://a.example/secret"), hooked(database, other, "https://b.example/")]
    mine, theirs = make_job(database, me), make_job(database, other)
    ended = {"state": Delivery.FAILED, "tries": 8, "lease_token": None}
    with database.transaction() as conn:
        theirs_only = deliveries.update().where(deliveries.c.job_id == theirs.id)
        conn.execute(theirs_only.values(**ended, finished_at=database.now(conn)))
    listed = (await operator.get("/v1/admin/deliveries")).json()["data"]
    assert [(row["job_id"], row["host"], row["webhook_id"], row["project_id"]) for row in listed] == [
        (theirs.id, "b.example", hooks[1], other.project.id),
        (mine.id, "a.example", hooks[0], me.project.id),
    ]
    [failed] = (await operator.get("/v1/admin/deliveries", params={"status": "failed"})).json()["data"]
    assert failed["job_id"] == theirs.id
    [of_mine] = (await operator.get("/v1/admin/deliveries", params={"project_id": me.project.id})).json()["data"]
    assert of_mine["job_id"] == mine.id
    assert (await operator.get("/v1/admin/overview")).json()["webhooks"]["owed"] == 1
    again = await operator.post(f"/v1/admin/deliveries/{failed['id']}/redeliver")
    assert (again.status_code, again.json()["status"], again.json()["id"]) == (202, "owed", failed["id"])
    with database.transaction() as conn:
        webhooks.disable(conn, hooks[1], reason=Disabled.GONE, now=database.now(conn))
    refused = await operator.post(f"/v1/admin/deliveries/{failed['id']}/redeliver")
    require_error(refused, 409, code="webhook_disabled")
    owed = (await operator.get("/v1/admin/overview")).json()["webhooks"]
    assert (owed["owed"], owed["disabled_endpoints"]) == (1, 1)
    require_error(await operator.post("/v1/admin/deliveries/dlv_0/redeliver"), 404)
