"""The OpenAI face over the same jobs: what the stock SDK sends and needs, beyond what tests/clients shows with it."""

from typing import Any

import httpx2
import pytest

from app.api.callers import Caller
from app.api.deps import House
from app.db.engine import Database
from app.domain.states import JobState, PublicStatus
from tests.api.conftest import ClientFor, count, require_error
from tests.conftest import one_database
from tests.factories import LINK, VIDEO, make_caller, make_job, picture

pytestmark = one_database
FOX = {"prompt": "A fox wakes up.", "model": "veo2"}


def video_id(job_id: str) -> str:
    return job_id.replace("job_", "video_")


async def post(client: httpx2.AsyncClient, **fields: Any) -> dict[str, Any]:
    response = await client.post("/v1/videos", json=FOX | fields)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def job_of(client: httpx2.AsyncClient, video: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"/v1/jobs/{video['id'].replace('video_', 'job_')}")).json()
    return found


async def test_create__is_a_job_in_another_shape(client: httpx2.AsyncClient) -> None:
    response = await client.post("/v1/videos", json=FOX | {"seconds": "6", "size": "720x1280", "seed": 7})
    video = response.json()
    assert response.headers["location"] == f"/v1/videos/{video['id']}"
    assert response.headers["openai-poll-after-ms"] == "5000"
    job = await job_of(client, video)
    assert job["input"] == {"prompt": FOX["prompt"], "duration": 6, "aspect_ratio": "9:16", "seed": 7}
    assert video == {
        "id": video_id(job["id"]),
        "object": "video",
        "model": "veo2",
        "status": "queued",
        "state": "queued",
        "progress": 0,
        "created_at": video["created_at"],
        "completed_at": None,
        "expires_at": None,
        "seconds": "6",
        "size": "720x1280",
        "prompt": FOX["prompt"],
        "remixed_from_video_id": None,
        "error": None,
    }
    assert isinstance(video["created_at"], int)


async def test_create__takes_control_fields(client: httpx2.AsyncClient) -> None:
    video = await post(client, metadata={"order": "A-17"}, priority="low", on_unconfirmed="resubmit")
    job = await job_of(client, video)
    assert (job["metadata"], job["priority"]) == ({"order": "A-17"}, "low")
    assert job["input"] == {"prompt": FOX["prompt"]}


async def test_create__takes_a_form_without_a_file(client: httpx2.AsyncClient) -> None:
    parts = [("model", "veo2"), ("prompt", "A fox."), ("seconds", "8"), ("metadata[order]", "A-1"), ("seed", "7")]
    parts.append(("metadata[1]", "x"))
    response = await client.post("/v1/videos", files=[(name, (None, text)) for name, text in parts])
    assert response.status_code == 200, response.text
    job = await job_of(client, response.json())
    assert job["input"] == {"prompt": "A fox.", "duration": 8, "seed": 7}
    assert job["metadata"] == {"order": "A-1", "1": "x"}


async def test_create__takes_nested_parts_of_a_form(client: httpx2.AsyncClient) -> None:
    parts = [
        ("model", "kling-video/v1.6/standard/multi-image-to-video"),
        ("prompt", "Two friends meet."),
        ("image_list[]", LINK),
        ("image_list[]", f"{LINK}?2"),
    ]
    response = await client.post("/v1/videos", files=[(name, (None, text)) for name, text in parts])
    assert response.status_code == 200, response.text
    assert (await job_of(client, response.json()))["input"]["image_list"] == [LINK, f"{LINK}?2"]


async def test_create__takes_the_reference_as_a_file(client: httpx2.AsyncClient) -> None:
    fields = {"model": "veo2/image-to-video", "prompt": "It moves."}
    response = await client.post("/v1/videos", data=fields, files={"input_reference": ("cat.jpg", picture())})
    assert response.status_code == 200, response.text
    assert (await job_of(client, response.json()))["input"]["image_url"].startswith("file_")


@pytest.mark.parametrize("reference", [LINK, {"image_url": LINK}])
async def test_create__takes_the_reference_as_a_link(client: httpx2.AsyncClient, reference: Any) -> None:
    video = await post(client, model="veo2/image-to-video", input_reference=reference)
    assert (await job_of(client, video))["input"]["image_url"] == LINK


async def test_create__takes_the_reference_of_a_form_as_an_object(client: httpx2.AsyncClient) -> None:
    parts = [("model", "veo2/image-to-video"), ("prompt", "It moves."), ("input_reference[image_url]", LINK)]
    response = await client.post("/v1/videos", files=[(name, (None, text)) for name, text in parts])
    assert response.status_code == 200, response.text
    assert (await job_of(client, response.json()))["input"]["image_url"] == LINK


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"seconds": "4"}, "seconds", "5, 6, 7, 8"),
        ({"seconds": ["5"]}, "seconds", "a text"),
        ({"size": "1792x1024"}, "size", "1280x720"),
        ({"size": 720}, "size", "1280x720"),
        ({"duraton": 5}, "duraton", "Did you mean 'duration'"),
        ({"model": "sora-2"}, "model", "GET /v1/models"),
        ({"model": 5}, "model", "string"),
        ({"prompt": ""}, "prompt", "empty"),
        ({"max_cost_usd": -1}, "max_cost_usd", "greater"),
        ({"input_reference": LINK}, "input_reference", "takes no image"),
        ({"input_reference": {"url": LINK}, "model": "veo2/image-to-video"}, "input_reference", "file_id"),
        ({"image_url": LINK, "input_reference": LINK, "model": "veo2/image-to-video"}, "image_url", "twice"),
    ],
)
async def test_create__refuses_naming_the_field(
    client: httpx2.AsyncClient, database: Database, fields: dict[str, Any], param: str, said: str
) -> None:
    refused = await client.post("/v1/videos", json=FOX | fields)
    assert said in require_error(refused, 400, param=param)["message"]
    assert refused.headers["x-should-retry"] == "false"
    assert count(database, "jobs") == 0


@pytest.mark.parametrize(
    "names",
    [
        ["loras[0"],
        ["[0]"],
        ["seed", "seed[a]"],
        ["a[b]", "a[]"],
        ["a[1]"],
        ["a[]", "a[0]"],
        ["a[]", "a[0][b]"],
        ["a[0][b]", "a[0][b]"],
        ["seed", "seed"],
        ["a" + "[b]" * 40],
    ],
)
async def test_create__refuses_unreadable_parts(client: httpx2.AsyncClient, names: list[str]) -> None:
    parts = [("prompt", "x"), ("model", "veo2"), *((name, "1") for name in names)]
    refused = await client.post("/v1/videos", files=[(name, (None, text)) for name, text in parts])
    require_error(refused, 400)


async def test_key__replays_the_first_answer(client: httpx2.AsyncClient, database: Database) -> None:
    headers = {"Idempotency-Key": "order-1"}
    first = await client.post("/v1/videos", json=FOX, headers=headers)
    again = await client.post("/v1/videos", json=FOX, headers=headers)
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert count(database, "jobs") == 1
    require_error(await client.post("/v1/jobs", json={"input": {}}, headers=headers), 422)


@pytest.mark.parametrize("state", list(JobState))
async def test_read__has_the_four_statuses(
    client: httpx2.AsyncClient, database: Database, me: Caller, state: JobState
) -> None:
    job = make_job(database, me, state=state)
    response = await client.get(f"/v1/videos/{video_id(job.id)}")
    video = response.json()
    status = (await client.get(f"/v1/jobs/{job.id}")).json()["status"]
    expected = {PublicStatus.SUCCEEDED: "completed", PublicStatus.CANCELED: "failed"}.get(status, status)
    assert (video["status"], video["state"]) == (expected, state)
    assert ("openai-poll-after-ms" in response.headers) == (expected in ("queued", "in_progress"))
    assert (video["error"] is not None) == (expected == "failed")
    if status == PublicStatus.CANCELED:
        assert video["error"]["code"] == "canceled"
    if expected == "completed":
        assert video["completed_at"] >= video["created_at"]


async def test_read__of_another_project_or_shape_is_not_found(
    client_for: ClientFor, client: httpx2.AsyncClient, database: Database, me: Caller
) -> None:
    job = make_job(database, me)
    _, secret = make_caller(database, project="others")
    require_error(await client_for(secret).get(f"/v1/videos/{video_id(job.id)}"), 404)
    require_error(await client.get(f"/v1/videos/{job.id}"), 404)


async def test_list__goes_by_cursor(client: httpx2.AsyncClient, database: Database, me: Caller) -> None:
    ids = [video_id(make_job(database, me).id) for _ in range(3)]
    page = (await client.get("/v1/videos", params={"limit": 2, "order": "asc"})).json()
    assert [video["id"] for video in page["data"]] == ids[:2]
    assert (page["object"], page["first_id"], page["last_id"], page["has_more"]) == ("list", ids[0], ids[1], True)
    rest = (await client.get("/v1/videos", params={"after": page["last_id"], "order": "asc"})).json()
    assert ([video["id"] for video in rest["data"]], rest["has_more"]) == (ids[2:], False)
    require_error(await client.get("/v1/videos", params={"after": "job_1"}), 400)


async def test_content__says_400_until_it_is_ready(
    client: httpx2.AsyncClient, database: Database, me: Caller, house: House
) -> None:
    waiting = make_job(database, me)
    error = require_error(await client.get(f"/v1/videos/{video_id(waiting.id)}/content"), 400, code="video_not_ready")
    assert error["type"] == "invalid_request_error"
    done = make_job(database, me, state=JobState.SUCCEEDED)
    assert done.video is not None
    await house.store.put_bytes(done.video["key"], VIDEO, content_type="video/mp4")
    content = await client.get(
        f"/v1/videos/{video_id(done.id)}/content", headers={"Accept": "application/binary", "Range": "bytes=0-9"}
    )
    assert (content.status_code, content.content) == (206, VIDEO[:10])
    require_error(await client.get(f"/v1/videos/{video_id(done.id)}/content?variant=spritesheet"), 400)


async def test_delete__answers_what_is_gone(client: httpx2.AsyncClient, database: Database, me: Caller) -> None:
    done = video_id(make_job(database, me, state=JobState.FAILED).id)
    deleted = await client.delete(f"/v1/videos/{done}")
    assert deleted.json() == {"id": done, "object": "video.deleted", "deleted": True}
    require_error(await client.get(f"/v1/videos/{done}"), 404)
    running = video_id(make_job(database, me, state=JobState.GENERATING).id)
    assert (await client.delete(f"/v1/videos/{running}")).headers["x-should-retry"] == "false"


async def test_remix__is_the_same_input_with_another_prompt(client: httpx2.AsyncClient, database: Database) -> None:
    first = await post(client, seconds="6", seed=7, metadata={"order": "A-1"})
    response = await client.post(f"/v1/videos/{first['id']}/remix", json={"prompt": "A wolf."})
    assert response.status_code == 200, response.text
    remixed = response.json()
    assert (remixed["remixed_from_video_id"], remixed["prompt"]) == (first["id"], "A wolf.")
    job = await job_of(client, remixed)
    assert job["input"] == {"prompt": "A wolf.", "duration": 6, "seed": 7}
    assert (job["metadata"], job["retried_from"]) == ({"order": "A-1"}, None)
    require_error(await client.post(f"/v1/videos/{first['id']}/remix", json={"prompt": " "}), 400, param="prompt")
    require_error(await client.post(f"/v1/videos/{first['id']}/remix", json={}), 400, param="prompt")
    require_error(await client.post("/v1/videos/video_1/remix", json={"prompt": "A wolf."}), 404)
    assert count(database, "jobs") == 2


async def test_remix__is_made_once(client: httpx2.AsyncClient, database: Database) -> None:
    first = await post(client)
    headers = {"Idempotency-Key": "remix-1"}
    made = [
        await client.post(f"/v1/videos/{first['id']}/remix", json={"prompt": "A wolf."}, headers=headers)
        for _ in range(2)
    ]
    assert made[0].content == made[1].content
    assert count(database, "jobs") == 2


@pytest.mark.parametrize("path", ["edits", "extensions", "characters"])
async def test_unsupported__is_said(client: httpx2.AsyncClient, path: str) -> None:
    require_error(await client.post(f"/v1/videos/{path}", json={}), 400, code="unsupported_operation")


async def test_remix__keeps_to_the_size_of_an_input(client: httpx2.AsyncClient, database: Database) -> None:
    first = await post(client)
    for length in (300_000, 262_140):  # the prompt alone, and together with the rest
        refused = await client.post(f"/v1/videos/{first['id']}/remix", json={"prompt": "x" * length})
        require_error(refused, 400, code="input_too_large", param="input")
    assert count(database, "jobs") == 1


async def test_not_found__names_the_video(client: httpx2.AsyncClient) -> None:
    for method, path in [("GET", ""), ("GET", "/content"), ("DELETE", ""), ("POST", "/remix")]:
        body = {"prompt": "x"} if method == "POST" else None
        refused = await client.request(method, f"/v1/videos/video_17{path}", json=body)
        message = require_error(refused, 404, code="not_found")["message"]
        assert message.startswith("There is no video 'video_17' here.")
