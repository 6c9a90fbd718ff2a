"""The same request, sent again with its Idempotency-Key: one job, and the first answer, byte for byte."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from app.api import fingerprints, routes
from app.api.callers import Caller
from app.api.multipart import Form
from app.db import jobs
from app.db.engine import Database
from app.db.jobs import Owner
from app.domain.actor import Actor
from app.domain.errors import Unavailable
from app.domain.states import JobState
from app.workers.sweep import Sweeper
from tests.api.conftest import ClientFor, MakeHouse, asleep, count, data_uri, require_error, stored
from tests.conftest import Clock, one_database
from tests.factories import INPUT, make_caller, make_job, picture

KEY = {"Idempotency-Key": "order-17"}
BODY = {"input": INPUT, "metadata": {"order": "A-17"}}
IMAGE = {"input": {"prompt": "p", "image_url": data_uri(picture())}}


def form(*, boundary: str, file_name: str, prompt: str = "p", image: bytes | None = None, swapped: bool = False) -> Any:
    """Return content and headers of a form with a text and a file."""
    text = f'Content-Disposition: form-data; name="prompt"\r\n\r\n{prompt}\r\n'.encode()
    head = f'Content-Disposition: form-data; name="image"; filename="{file_name}"\r\n\r\n'.encode()
    parts = [text, head + (image or picture()) + b"\r\n"]
    line = f"--{boundary}\r\n".encode()
    content = b"".join(line + part for part in (reversed(parts) if swapped else parts))
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return {"content": content + f"--{boundary}--\r\n".encode(), "headers": headers | KEY}


def require_replay(response: httpx2.Response, first: httpx2.Response) -> None:
    assert (response.status_code, response.content) == (201, first.content), response.text
    assert response.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    for name in ("location", "etag", "cache-control", "retry-after", "content-type"):
        assert response.headers[name] == first.headers[name]


async def test_replay__is_the_first_answer_whatever_became_of_the_job(
    client: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    first = await client.post("/v1/jobs", json=BODY, headers=KEY)
    assert first.json()["state"] == "queued"
    await client.post(f"/v1/jobs/{first.json()['id']}/cancel")
    # Written down otherwise: other order of fields, other white space, and sent as the SDK's third try.
    content = '{ "metadata":{"order":"A-17"},\n"input": {"image_url": "%s", "prompt": "%s"} }'
    headers = KEY | {"Content-Type": "application/json", "X-Stainless-Retry-Count": "2"}
    again = await client.post("/v1/jobs", content=content % (INPUT["image_url"], INPUT["prompt"]), headers=headers)
    require_replay(again, first)
    assert (count(database, "jobs"), count(database, "creations")) == (1, 1)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("order-17", '"order-17"'),
        ('"a b"', "a b"),
        (r'"say \"yes\" \\"', r'say "yes" \ '),
        ("x" * 255, f'"{"x" * 255}"'),
        ('"!#-~ []"', "!#-~ []"),
    ],
)
@one_database
async def test_key__is_the_same_quoted_or_bare(client: httpx2.AsyncClient, first: str, second: str) -> None:
    answers = [await client.post("/v1/jobs", json=BODY, headers={"Idempotency-Key": key}) for key in (first, second)]
    require_replay(answers[1], answers[0])


@pytest.mark.parametrize(
    "key",
    [b"", b" ", b'""', b'"', b'"a', b'a"b"\xc3\xa4', b'"a"b"', rb'"a\b"', b"tab\there", b"\xc3\xa4", b"x" * 256],
)
@one_database
async def test_key__that_cannot_be_used_is_refused_before_the_body(client: httpx2.AsyncClient, key: bytes) -> None:
    refused = await client.post("/v1/jobs", content=b"not even read", headers=[(b"Idempotency-Key", key)])
    require_error(refused, 400, code="invalid_idempotency_key", param=None)
    job = await client.post("/v1/jobs/job_1/retry", headers=[(b"Idempotency-Key", key)])
    require_error(job, 400, code="invalid_idempotency_key", param=None)


@one_database
async def test_key__is_one(client: httpx2.AsyncClient) -> None:
    twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    require_error(await client.post("/v1/jobs", json=BODY, headers=twice), 400, code="invalid_idempotency_key")


async def test_key__of_another_request_is_refused(
    client: httpx2.AsyncClient, database: Database, me: Caller, storage: Path
) -> None:
    failed = make_job(database, me, state=JobState.FAILED)
    await client.post("/v1/jobs", json=BODY, headers=KEY)
    refusals = [
        await client.post("/v1/jobs", json=BODY | {"priority": "high"}, headers=KEY),
        await client.post("/v1/jobs", json=IMAGE, headers=KEY),
        await client.post(f"/v1/jobs/{failed.id}/retry", json=BODY, headers=KEY),
        await client.post(f"/v1/jobs/{failed.id}/retry", headers=KEY),
    ]
    for refused in refusals:
        error = require_error(refused, 422, code="idempotency_key_reused", param=None)
        assert error["type"] == "idempotency_error"
        assert refused.headers["x-should-retry"] == "false"
    assert (count(database, "jobs"), stored(storage)) == (2, [])


async def test_key__belongs_to_project_and_subject(client_for: ClientFor, database: Database) -> None:
    holders = [("films", None), ("films", None), ("films", "ann"), ("films", "bob"), ("others", None)]
    secrets = [make_caller(database, project=project, subject=subject)[1] for project, subject in holders]
    answers = [await client_for(secret).post("/v1/jobs", json=BODY, headers=KEY) for secret in secrets]
    require_replay(answers[1], answers[0])  # another key of the same project
    assert len({answer.json()["id"] for answer in answers}) == 4


async def test_key__is_kept_for_a_day(
    client: httpx2.AsyncClient, database: Database, clock: Clock, house_sweeper: Sweeper
) -> None:
    first = await client.post("/v1/jobs", json=BODY, headers=KEY)
    clock.move(hours=23, minutes=59)
    await house_sweeper.run_once()
    require_replay(await client.post("/v1/jobs", json=BODY, headers=KEY), first)
    clock.move(minutes=2)
    second = await client.post("/v1/jobs", json=BODY | {"priority": "low"}, headers=KEY)
    assert second.status_code == 201 and second.json()["id"] != first.json()["id"]
    clock.move(hours=25)
    await house_sweeper.run_once()
    assert count(database, "creations") == 0


async def test_refusal__stores_nothing(client: httpx2.AsyncClient, database: Database, storage: Path) -> None:
    wrong = {"input": {"prompt": "p", "image_url": data_uri(picture()), "tail_image_url": "file_unknown"}}
    require_error(await client.post("/v1/jobs", json={"input": {}}, headers=KEY), 400)
    require_error(await client.post("/v1/jobs", json=wrong, headers=KEY), 400, code="file_not_found")
    assert (count(database, "creations"), stored(storage)) == (0, [])
    right = await client.post("/v1/jobs", json=BODY, headers=KEY)
    require_replay(await client.post("/v1/jobs", json=BODY, headers=KEY), right)


async def test_deleted__answers_410(client: httpx2.AsyncClient, database: Database) -> None:
    first = await client.post("/v1/jobs", json=BODY, headers=KEY)
    job_url = first.headers["location"]
    await client.post(f"{job_url}/cancel")
    assert (await client.delete(job_url)).status_code == 204
    for body in (BODY, {"input": INPUT}):  # what was asked for is forgotten too
        gone = await client.post("/v1/jobs", json=body, headers=KEY)
        require_error(gone, 410, code="made_and_deleted")
        assert gone.headers["x-should-retry"] == "false"
    assert count(database, "jobs") == 1


async def test_form__is_known_by_its_content(client: httpx2.AsyncClient, database: Database, storage: Path) -> None:
    first = await client.post("/v1/jobs", **form(boundary="x", file_name="cat.jpg"))
    again = await client.post("/v1/jobs", **form(boundary="--y--", file_name="other.png", swapped=True))
    require_replay(again, first)
    others = [
        form(boundary="x", file_name="cat.jpg", prompt="q"),
        form(boundary="x", file_name="cat.jpg", image=picture("PNG")),
        {"json": {"input": {"prompt": "p", "image_url": INPUT["image_url"]}}, "headers": KEY},
    ]
    for other in others:
        require_error(await client.post("/v1/jobs", **other), 422)
    assert (count(database, "jobs"), len(stored(storage))) == (1, 1)


def test_form__the_order_counts_within_one_name() -> None:
    links = [("image_urls", "1"), ("prompt", "p"), ("image_urls", "2")]
    one, same, other = (fingerprints.of_form(Form(texts)) for texts in (links, sorted(links), links[::-1]))
    assert one == same != other


async def test_wait__is_for_the_first_and_not_for_the_replay(
    client: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    headers = KEY | {"Prefer": "wait=60"}
    waiting = asyncio.ensure_future(client.post("/v1/jobs", json=BODY, headers=headers))
    job_id = (await asleep(database)).removeprefix("job:")
    async with asyncio.timeout(20):
        early = await client.post("/v1/jobs", json=BODY, headers=headers)
    assert (early.json()["id"], early.json()["status"]) == (job_id, "queued")
    assert "preference-applied" not in early.headers
    await database.write(lambda conn: jobs.cancel(conn, job_id, owner=me.owner, now=database.now(conn)))
    async with asyncio.timeout(20):
        first = await waiting
    assert (first.json()["status"], first.headers["preference-applied"]) == ("canceled", "wait=60")
    late = await client.post("/v1/jobs", json=BODY, headers=headers)
    assert late.content == early.content


async def test_retry__with_a_key_is_replayed_even_once_it_ended(
    client: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    failed = make_job(database, me, state=JobState.FAILED)
    url = f"/v1/jobs/{failed.id}/retry"
    first = await client.post(url, headers=KEY)
    assert first.status_code == 201
    require_replay(await client.post(url, json={}, headers=KEY), first)
    await client.post(f"{first.headers['location']}/cancel")
    require_replay(await client.post(url, headers=KEY), first)
    assert count(database, "jobs") == 2


async def test_create__fifty_at_once_make_one_job(
    client_for: ClientFor, caller: tuple[Caller, str], database: Database, storage: Path, make_house: MakeHouse
) -> None:
    doors = [client_for(caller[1])]
    if not database.is_sqlite:
        doors.append(client_for(caller[1], app=routes.build(make_house())))
    sent = [doors[n % len(doors)].post("/v1/jobs", json=IMAGE, headers=KEY) for n in range(50)]
    answers = await asyncio.gather(*sent)
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 49
    assert (count(database, "jobs"), count(database, "creations"), count(database, "files")) == (1, 1, 1)
    assert stored(storage) == [f"inputs/{answers[0].json()['input']['image_url']}.jpg"]


async def test_retry__twenty_at_once_make_one_job(client: httpx2.AsyncClient, database: Database, me: Caller) -> None:
    failed = make_job(database, me, state=JobState.FAILED)
    answers = await asyncio.gather(*(client.post(f"/v1/jobs/{failed.id}/retry", headers=KEY) for _ in range(20)))
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert count(database, "jobs") == 2


async def test_create__different_requests_at_once_with_one_key(
    client: httpx2.AsyncClient, database: Database, storage: Path
) -> None:
    images = [picture(size=(8 + n, 6)) for n in range(8)]
    bodies = [{"input": {"prompt": "p", "image_url": data_uri(image)}} for image in images]
    answers = await asyncio.gather(*(client.post("/v1/jobs", json=body, headers=KEY) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201] + [422] * 7
    assert (count(database, "jobs"), count(database, "files"), len(stored(storage))) == (1, 1, 1)


class Eventful(Database):
    """A database whose answers are lost, and before anybody looks again the new job has been canceled."""

    async def write(self, work: Any, *, by: Actor | None = None) -> Any:
        made = await super().write(work, by=by)
        owner = Owner(project_id=made.job.project_id)
        await super().write(lambda conn: jobs.cancel(conn, made.job.id, owner=owner, now=self.now(conn)))
        raise Unavailable("the connection broke while the commit was answered")


async def test_create__a_commit_whose_answer_was_lost_answers_what_replays_will(
    client_for: ClientFor, caller: tuple[Caller, str], client: httpx2.AsyncClient, make_house: MakeHouse
) -> None:
    eventful = client_for(caller[1], app=routes.build(make_house(Eventful)))
    first = await eventful.post("/v1/jobs", json=BODY, headers=KEY)
    assert first.json()["state"] == "queued"
    require_replay(await client.post("/v1/jobs", json=BODY, headers=KEY), first)


async def test_key__of_a_retry_under_way_stands_for_that_one(
    client: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    failed = make_job(database, me, state=JobState.FAILED)
    url = f"/v1/jobs/{failed.id}/retry"
    retry = (await client.post(url, headers={"Idempotency-Key": "k1"})).json()
    told = [await client.post(url, headers={"Idempotency-Key": key}) for key in ("k2", "k3")]
    assert [(answer.status_code, answer.json()["id"]) for answer in told] == [(200, retry["id"])] * 2
    await client.post(f"/v1/jobs/{retry['id']}/cancel")
    for key, first in zip(("k2", "k3"), told, strict=True):
        again = await client.post(url, headers={"Idempotency-Key": key})
        assert (again.status_code, again.content) == (200, first.content)
        assert again.headers["idempotent-replayed"] == "true"
        for name in ("location", "etag", "retry-after"):
            assert again.headers[name] == first.headers[name]
    assert count(database, "jobs") == 2
    require_error(await client.post("/v1/jobs", json=BODY, headers={"Idempotency-Key": "k2"}), 422)
    # Without a key, or with a new one, it is a new wish.
    assert (await client.post(url, headers={"Idempotency-Key": "k4"})).json()["id"] != retry["id"]
    await client.delete(f"/v1/jobs/{retry['id']}")
    gone = await client.post(url, headers={"Idempotency-Key": "k2"})
    assert retry["id"] in require_error(gone, 410, code="made_and_deleted")["message"]


async def test_key__of_a_retry_that_succeeded_stores_no_link(
    client: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    failed = make_job(database, me, state=JobState.FAILED)
    done = make_job(database, me, state=JobState.SUCCEEDED, retried_from=failed.id)
    answers = [await client.post(f"/v1/jobs/{failed.id}/retry", headers=KEY) for _ in range(2)]
    assert [(answer.status_code, answer.json()["id"]) for answer in answers] == [(200, done.id)] * 2
    assert answers[1].headers["idempotent-replayed"] == "true"
    assert "signature=" in answers[1].json()["video"]["url"]
    with database.transaction() as conn:
        assert conn.execute(sa.text("SELECT answer FROM creations")).scalar_one() == ""
