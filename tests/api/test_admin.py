"""The operator's endpoints: who may use them, what they decide, what they show."""

import asyncio

import httpx2
import pytest

from app.api.callers import Caller
from app.db import gate, resolving, submissions
from app.db.engine import Connection, Database
from app.domain.job import Job
from app.domain.pacing import Pace
from app.domain.states import JobState
from tests.api.conftest import asleep, require_error
from tests.factories import INPUT, make_caller, make_job


@pytest.fixture
def job(database: Database) -> Job:
    """Another project's job that may have been bought."""
    made = make_job(database, make_caller(database)[0], state=JobState.UNCONFIRMED, estimated_micros=2_500_000)
    with database.transaction() as conn:
        prepared = submissions.prepare(conn, made, now=database.now(conn), worker="w", deployment="d1")
        conn.execute(
            submissions.submissions.update()
            .where(submissions.submissions.c.id == prepared.id)
            .values(state="unconfirmed")
        )
    return made


async def test_resolve__not_created_queues_again(operator: httpx2.AsyncClient, job: Job) -> None:
    answer = await operator.post(f"/v1/admin/jobs/{job.id}/resolve", json={"action": "not_created"})
    assert (answer.status_code, answer.json()["state"]) == (200, "queued")
    again = await operator.post(f"/v1/admin/jobs/{job.id}/resolve", json={"action": "not_created"})
    require_error(again, 409, code="not_unconfirmed")


async def test_resolve__give_up_is_in_the_owners_timeline_with_who_did_it(
    operator: httpx2.AsyncClient, client: httpx2.AsyncClient, job: Job
) -> None:
    answer = await operator.post(f"/v1/admin/jobs/{job.id}/resolve", json={"action": "give_up"})
    error = answer.json()["error"]
    assert (error["code"], error["billed"]) == ("submission_unconfirmed", True)
    cost = {"estimated_usd": 2.5, "charged_usd": 2.5, "basis": "estimated", "reserved_usd": 0.0, "settled": True}
    assert answer.json()["cost"] == cost


async def test_resolve__attach_waits_for_the_workers_word(
    operator: httpx2.AsyncClient, database: Database, job: Job
) -> None:
    wish = {"action": "attach", "generation_id": "g1"}
    asking = asyncio.create_task(operator.post(f"/v1/admin/jobs/{job.id}/resolve", json=wish))
    await asleep(database)
    await database.write(lambda conn: resolving.attach(conn, job.id, now=database.now(conn)))
    answer = await asking
    assert (answer.status_code, answer.json()["state"]) == (200, "generating")


async def test_resolve__attach_tells_why_it_was_refused(
    operator: httpx2.AsyncClient, database: Database, job: Job
) -> None:
    wish = {"action": "attach", "generation_id": "g1"}
    asking = asyncio.create_task(operator.post(f"/v1/admin/jobs/{job.id}/resolve", json=wish))
    await asleep(database)
    reason = "The upstream knows no such generation."
    await database.write(lambda conn: resolving.refuse_claim(conn, job.id, reason=reason, now=database.now(conn)))
    assert require_error(await asking, 409, code="attach_refused")["message"] == reason


async def test_resolve__attach_of_a_taken_generation_is_a_conflict(
    operator: httpx2.AsyncClient, database: Database, job: Job
) -> None:
    other = make_job(database, make_caller(database)[0], state=JobState.GENERATING)
    wish = {"action": "attach", "generation_id": f"gen-{other.id}"}
    answer = await operator.post(f"/v1/admin/jobs/{job.id}/resolve", json=wish)
    assert other.id in require_error(answer, 409, code="generation_taken")["message"]


@pytest.mark.parametrize(
    "body", [{}, {"action": "attach"}, {"action": "give_up", "generation_id": "g1"}, {"action": "buy"}]
)
async def test_resolve__a_wish_that_makes_no_sense_is_refused(
    operator: httpx2.AsyncClient, job: Job, body: dict[str, str]
) -> None:
    require_error(await operator.post(f"/v1/admin/jobs/{job.id}/resolve", json=body), 400)


async def test_resolve__an_unknown_job(operator: httpx2.AsyncClient) -> None:
    answer = await operator.post("/v1/admin/jobs/job_0/resolve", json={"action": "give_up"})
    require_error(answer, 404)


async def test_jobs__of_every_project(operator: httpx2.AsyncClient, job: Job) -> None:
    listed = (await operator.get("/v1/admin/jobs", params={"state": "unconfirmed"})).json()
    assert [found["id"] for found in listed["data"]] == [job.id]
    unresolved = (await operator.get("/v1/admin/jobs", params={"unresolved": "true"})).json()
    assert unresolved["data"] == []


async def test_upstream__shows_holds_and_resume_ends_them(
    operator: httpx2.AsyncClient, database: Database, job: Job
) -> None:
    def hold(conn: Connection) -> None:
        now = database.now(conn)
        gate.hold(conn, now=now, until=now, reason="upstream_key_refused", probe_first=True)
        gate.hold_model(conn, "veo2", now=now, until=now, reason="model_forbidden", level=1)
        gate.set_pace(conn, Pace(5.0, now))

    await database.write(hold)
    shown = (await operator.get("/v1/admin/upstream")).json()
    assert (shown["hold"], shown["model_holds"]) == ("upstream_key_refused", {"veo2": "model_forbidden"})
    assert (shown["in_flight"], shown["unconfirmed"], shown["unresolved"]) == (1, 1, 0)
    resumed = (await operator.post("/v1/admin/upstream/resume")).json()
    assert (resumed["hold"], resumed["model_holds"], resumed["pace_per_minute"]) == (None, {}, None)


async def test_pause__is_shown_until_resumed(
    operator: httpx2.AsyncClient, client: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    waiting = make_job(database, me)
    paused = (await operator.post("/v1/admin/upstream/pause", json={"reason": "Too dear."})).json()["paused"]
    assert (paused["by"][:6], paused["reason"]) == ("test (", "Too dear.")
    again = await operator.post("/v1/admin/upstream/pause", json={"reason": "Another."})
    assert again.json()["paused"] == paused
    made = (await client.post("/v1/jobs", json={"input": INPUT})).json()
    seen = (await client.get(f"/v1/jobs/{waiting.id}")).json()
    assert made["queue"]["reason"] == seen["queue"]["reason"] == "paused_by_operator"
    estimate = (await client.post("/v1/jobs/estimate", json={"input": INPUT})).json()
    assert estimate["eta_seconds"] is None
    assert "submissions_held: paused_by_operator" in (await client.get("/readyz")).json()["reasons"]
    resumed = (await operator.post("/v1/admin/upstream/resume")).json()
    assert (resumed["paused"], resumed["balance_usd"], resumed["balance_at"]) == (None, None, None)
    assert (await client.get(f"/v1/jobs/{waiting.id}")).json()["queue"]["reason"] is None


async def test_readyz__says_what_holds_and_what_waits_for_a_person(
    client: httpx2.AsyncClient, database: Database, job: Job
) -> None:
    def trouble(conn: Connection) -> None:
        now = database.now(conn)
        gate.hold_model(conn, "veo2", now=now, until=now, reason="model_forbidden", level=1)
        jobs = resolving.jobs.jobs
        conn.execute(jobs.update().where(jobs.c.id == job.id).values(search_ended_at=now, parked=True))

    await database.write(trouble)
    answer = (await client.get("/readyz")).json()
    assert answer["status"] == "degraded"
    assert {"model_held: veo2: model_forbidden", "unresolved_jobs: 1", "parked_jobs: 1"} <= set(answer["reasons"])
