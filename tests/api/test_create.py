"""POST /v1/jobs: what is made of a good request."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from PIL import Image

from app.api.callers import Caller
from app.api.deps import House
from app.db import deployment, files, gate, jobs
from app.db.engine import Database
from app.db.tables import projects
from app.domain.job import Priority
from tests.api.conftest import ClientFor, asleep, count, data_uri, require_error, stored
from tests.conftest import Clock
from tests.factories import INPUT, MODEL, make_caller, picture

PRICE = {MODEL: {"kind": "fixed", "units": [{"price": "0.5", "unit": "second", "per": "1"}]}}


def set_prices(database: Database, rules: dict[str, Any] | None = None) -> None:
    with database.transaction() as conn:
        deployment.save_prices(conn, etag=None, rules=PRICE if rules is None else rules, now=database.now(conn))


async def test_create__answers_201_with_the_job(client: httpx2.AsyncClient, database: Database, me: Caller) -> None:
    set_prices(database)
    body = {
        "model": MODEL,
        "input": INPUT | {"duration": "6", "enhance_prompt": "false"},
        "metadata": {"order": "A-17"},
        "max_cost_usd": 3.5,
        "priority": "high",
        "on_unconfirmed": "hold",
        "start_within_seconds": 3600,
    }
    response = await client.post("/v1/jobs", json=body)
    assert response.status_code == 201
    job = response.json()
    assert response.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["status"], job["state"], job["priority"], job["subject"]) == ("queued", "queued", "high", None)
    assert job["input"] == INPUT | {"duration": 6, "enhance_prompt": False}
    assert job["metadata"] == {"order": "A-17"}
    assert job["queue"] == {"position": 1, "reason": None}
    assert job["cost"] == {
        "estimated_usd": 3.0,
        "charged_usd": None,
        "basis": None,
        "reserved_usd": 3.0,
        "settled": False,
    }
    assert job["events_url"].startswith(f"https://reelay.test/v1/jobs/{job['id']}/events?variant=events&expires=")
    with database.transaction() as conn:
        row = jobs.get(conn, job["id"], owner=me.owner)
    assert row.start_by is not None and (row.start_by - row.created_at).total_seconds() == 3600
    assert (row.max_cost_micros, row.estimate_basis, row.priority) == (3_500_000, "price_list", Priority.HIGH)
    assert (row.key_id, row.upstream_path) == (me.key.id, "/v2/video/generations")


async def test_create__needs_no_model_and_estimates_with_the_models_default(
    client: httpx2.AsyncClient, database: Database
) -> None:
    set_prices(database)
    job = (await client.post("/v1/jobs", json={"input": INPUT})).json()
    assert (job["model"], job["cost"]["estimated_usd"]) == (MODEL, 2.5)
    assert job["input"] == INPUT


async def test_create__says_what_a_limit_on_the_cost_meets(client: httpx2.AsyncClient, database: Database) -> None:
    body = {"input": INPUT, "max_cost_usd": 2.5}
    require_error(await client.post("/v1/jobs", json=body), 400, code="price_unknown", param="max_cost_usd")


async def test_create__refuses_an_estimate_above_the_limit(client: httpx2.AsyncClient, database: Database) -> None:
    set_prices(database)
    assert (await client.post("/v1/jobs", json={"input": INPUT, "max_cost_usd": 2.5})).status_code == 201
    refused = await client.post("/v1/jobs", json={"input": INPUT, "max_cost_usd": 2.499999})
    require_error(refused, 400, code="cost_limit_exceeded", param="max_cost_usd")
    assert count(database, "jobs") == 1


async def test_create__keeps_a_data_uri_as_a_file(
    client: httpx2.AsyncClient, database: Database, me: Caller, storage: Path
) -> None:
    body = {
        "input": {"prompt": "p", "image_url": data_uri(picture()), "tail_image_url": data_uri(picture("PNG"), "png")}
    }
    response = await client.post("/v1/jobs", json=body)
    assert response.status_code == 201, response.text
    shown = response.json()["input"]
    assert shown["image_url"].startswith("file_") and "base64" not in response.text
    with database.transaction() as conn:
        kept = files.get_many(conn, list(shown.values()), project_id=me.project.id, subject=None)
    first, second = kept[shown["image_url"]], kept[shown["tail_image_url"]]
    assert (first.content_type, first.width, first.height) == ("image/jpeg", 8, 6)
    assert second.content_type == "image/png"
    assert stored(storage) == sorted([first.storage_key, second.storage_key])
    assert (storage / first.storage_key).stat().st_size == first.size_bytes
    assert (first.expires_at - first.created_at).days == 7


async def test_create__takes_a_form_as_curl_sends_it(
    client: httpx2.AsyncClient, database: Database, storage: Path
) -> None:
    parts = {"prompt": "p", "duration": "7", "metadata[order]": "A-17", "metadata": '{"by": "ann"}', "priority": "low"}
    response = await client.post("/v1/jobs", data=parts, files={"image": ("../../cat.jpg", picture(), "text/plain")})
    assert response.status_code == 201, response.text
    job = response.json()
    assert job["input"] == {"prompt": "p", "duration": 7, "image_url": job["input"]["image_url"]}
    assert job["metadata"] == {"by": "ann", "order": "A-17"}
    assert job["priority"] == "low"
    assert stored(storage) == [f"inputs/{job['input']['image_url']}.jpg"]


@pytest.mark.parametrize(
    ("model", "parts", "filled"),
    [
        (MODEL, ["image", "tail_image"], ["image_url", "tail_image_url"]),
        (MODEL, ["image_url"], ["image_url"]),
        (MODEL, ["input_reference"], ["image_url"]),
        (
            "google/veo-3.1-first-last-image-to-video",
            ["image", "tail_image"],
            ["image_url", "last_image_url"],
        ),
    ],
)
async def test_create__file_parts_fill_the_models_own_parameters(
    client: httpx2.AsyncClient, model: str, parts: list[str], filled: list[str]
) -> None:
    sent = {part: ("x.jpg", picture(), "image/jpeg") for part in parts}
    response = await client.post("/v1/jobs", data={"prompt": "p", "model": model}, files=sent)
    assert response.status_code == 201, response.text
    assert sorted(response.json()["input"]) == sorted(["prompt", *filled])


async def test_create__takes_a_file_without_a_name(client: httpx2.AsyncClient) -> None:
    content = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    body = content % (b"prompt", b"p") + content % (b"image", picture()) + b"--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    response = await client.post("/v1/jobs", content=body, headers=headers)
    assert response.json()["input"]["image_url"].startswith("file_")


async def test_create__a_file_can_be_named_again_by_id(
    client: httpx2.AsyncClient, database: Database, me: Caller, clock: Clock
) -> None:
    made = await client.post("/v1/jobs", json={"input": {"prompt": "p", "image_url": data_uri(picture())}})
    file_id = made.json()["input"]["image_url"]
    clock.move(days=3)
    again = await client.post("/v1/jobs", json={"input": {"prompt": "p", "image_url": file_id}})
    assert again.json()["input"]["image_url"] == file_id
    with database.transaction() as conn:
        [file] = files.get_many(conn, [file_id], project_id=me.project.id, subject=None).values()
    assert (file.expires_at - file.created_at).days == 10


async def test_create__a_foreign_file_is_not_there(
    client: httpx2.AsyncClient, client_for: ClientFor, database: Database, storage: Path
) -> None:
    made = await client.post("/v1/jobs", json={"input": {"prompt": "p", "image_url": data_uri(picture())}})
    file_id = made.json()["input"]["image_url"]
    _, stranger = make_caller(database, project="others")
    _, subject = make_caller(database, subject="ann")
    before = count(database, "jobs"), stored(storage)
    for secret in (stranger, subject):
        body = {"input": {"prompt": "p", "image_url": data_uri(picture()), "tail_image_url": file_id}}
        refused = await client_for(secret).post("/v1/jobs", json=body)
        require_error(refused, 400, code="file_not_found", param="input.tail_image_url")
    # The image that came along was stored before the transaction failed: it is gone again.
    assert (count(database, "jobs"), stored(storage)) == before
    assert count(database, "files") == 1


async def test_create__large_images_are_made_smaller(
    database: Database, house: House, client: httpx2.AsyncClient, storage: Path
) -> None:
    body = {"input": {"prompt": "p", "image_url": data_uri(picture(size=(5000, 10)))}}
    job = (await client.post("/v1/jobs", json=body)).json()
    with Image.open(storage / f"inputs/{job['input']['image_url']}.jpg") as image:
        assert image.size[0] == house.max_image_side


async def test_create__shows_place_and_hold(client: httpx2.AsyncClient, database: Database) -> None:
    ids = [(await client.post("/v1/jobs", json={"input": INPUT})).json()["id"] for _ in range(2)]
    urgent = (await client.post("/v1/jobs", json={"input": INPUT, "priority": "high"})).json()
    with database.transaction() as conn:
        gate.hold(conn, now=database.now(conn), until=database.now(conn), reason="upstream_key_refused")
    assert urgent["queue"]["position"] == 1
    listed = (await client.get("/v1/jobs", params={"order": "asc"})).json()["data"]
    assert [(job["id"], job["queue"]["position"]) for job in listed] == [
        (ids[0], 2),
        (ids[1], 3),
        (urgent["id"], 1),
    ]
    assert {job["queue"]["reason"] for job in listed} == {"upstream_key_refused"}


async def test_create__waits_for_the_end_if_preferred(
    client: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    sent = client.post("/v1/jobs", json={"input": INPUT}, headers={"Prefer": "respond-async, wait=60"})
    waiting = asyncio.ensure_future(sent)
    job_id = (await asleep(database)).removeprefix("job:")
    await database.write(lambda conn: jobs.cancel(conn, job_id, owner=me.owner, now=database.now(conn)))
    async with asyncio.timeout(20):
        response = await waiting
    assert (response.status_code, response.json()["status"]) == (201, "canceled")
    assert response.headers["preference-applied"] == "wait=60"


async def test_create__without_storage_makes_no_job(
    client: httpx2.AsyncClient, database: Database, storage: Path
) -> None:
    (storage / "inputs").write_text("a file where a folder belongs")
    body = {"input": {"prompt": "p", "image_url": data_uri(picture())}}
    require_error(await client.post("/v1/jobs", json=body), 503, code="storage_unavailable")
    assert (count(database, "jobs"), count(database, "files")) == (0, 0)


async def test_create__an_archived_project_takes_no_jobs(
    client: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    archive(database)
    require_error(await client.post("/v1/jobs", content=b"not even read"), 403, code="project_archived")
    assert (await client.get("/v1/jobs")).status_code == 200


async def test_create__a_project_archived_a_moment_ago_takes_no_jobs(
    client: httpx2.AsyncClient, database: Database, storage: Path
) -> None:
    assert (await client.get("/v1/jobs")).status_code == 200  # now the key and its project are remembered
    archive(database)
    body = {"input": {"prompt": "p", "image_url": data_uri(picture())}}
    require_error(await client.post("/v1/jobs", json=body), 403, code="project_archived")
    assert (count(database, "jobs"), stored(storage)) == (0, [])


def archive(database: Database) -> None:
    with database.transaction() as conn:
        conn.execute(sa.update(projects).values(archived_at=database.now(conn)))
