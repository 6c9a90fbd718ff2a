"""The AI/ML API's face over the same jobs: flat bodies, its words, its envelope."""

from datetime import datetime
from typing import Any

import httpx2
import pytest

from app.api.aimlapi_video import PATHS
from app.api.callers import Caller
from app.db.engine import Database
from app.domain.states import JobState, PublicStatus, public_status
from tests.api.conftest import ClientFor, count
from tests.conftest import one_database
from tests.factories import LINK, make_caller, make_job

pytestmark = one_database
PATH = "/v2/video/generations"
ORDER = {"model": "veo2/image-to-video", "prompt": "Mona Lisa smiles.", "image_url": LINK, "duration": "5"}


def require_refusal(response: httpx2.Response, status: int) -> str:
    """Assert that the answer is their envelope, whole; return its message."""
    assert response.status_code == status, response.text
    body: dict[str, Any] = response.json()
    assert set(body) == {"message", "path", "requestId", "statusCode", "timestamp"}
    assert (body["statusCode"], body["path"]) == (status, response.request.url.path)
    assert body["requestId"] == response.headers["x-request-id"]
    assert datetime.fromisoformat(body["timestamp"]).tzinfo is not None
    message: str = body["message"]
    return message


@pytest.mark.parametrize("path", PATHS)
async def test_both_calls__on_every_path(client: httpx2.AsyncClient, path: str) -> None:
    submitted = await client.post(path, json=ORDER)
    assert submitted.status_code == 201, submitted.text
    generation = submitted.json()
    assert generation == {"id": generation["id"], "status": "queued", "video": None, "error": None, "meta": None}
    fetched = await client.get(path, params={"generation_id": generation["id"]})
    assert (fetched.status_code, fetched.json()) == (200, generation)
    job = (await client.get(f"/v1/jobs/{generation['id']}")).json()
    assert job["input"] == {"prompt": "Mona Lisa smiles.", "image_url": LINK, "duration": 5}


@pytest.mark.parametrize("state", list(JobState))
async def test_fetch__has_their_words(
    client: httpx2.AsyncClient, database: Database, me: Caller, state: JobState
) -> None:
    job = make_job(database, me, state=state, charged_micros=2_500_000, charge_basis="reported")
    generation = (await client.get(PATH, params={"generation_id": job.id})).json()
    words = {
        PublicStatus.QUEUED: "queued",
        PublicStatus.IN_PROGRESS: "generating",
        PublicStatus.SUCCEEDED: "completed",
        PublicStatus.FAILED: "error",
        PublicStatus.CANCELED: "error",
    }
    assert generation["status"] == words[public_status(state)]
    assert (generation["error"] is not None) == (generation["status"] == "error")
    assert generation["meta"] == {"usage": {"credits_used": 5_000_000}}
    if generation["status"] == "completed":
        video = generation["video"]
        assert set(video) == {"url", "content_type", "file_name", "file_size"}
        assert f"/v1/jobs/{job.id}/content?variant=video&" in video["url"]
    if generation["status"] == "error":
        assert set(generation["error"]) == {"name", "message"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (ORDER | {"duration": "9"}, "'duration': must be one of 5, 6, 7, 8"),
        ({"prompt": "x"}, "'model' must name a model"),
        (ORDER | {"model": "veo9"}, "There is no model 'veo9'"),
        (ORDER | {"metadata": {}}, "'metadata' is no parameter of a model"),
    ],
)
async def test_submit__refuses_in_their_envelope(
    client: httpx2.AsyncClient, database: Database, body: dict[str, Any], said: str
) -> None:
    message = require_refusal(await client.post(PATH, json=body), 400)
    assert message.startswith("Body validation error")
    assert said in message
    assert count(database, "jobs") == 0


async def test_refusals__are_all_in_their_envelope(
    client: httpx2.AsyncClient, client_for: ClientFor, database: Database, me: Caller
) -> None:
    require_refusal(await client_for().post(PATH, json=ORDER), 401)
    require_refusal(await client_for("rly_wrong").get(PATH, params={"generation_id": "x"}), 401)
    require_refusal(await client.get(PATH, params={"generation_id": "job_1"}), 404)
    require_refusal(await client.get(PATH), 400)
    require_refusal(await client.post(PATH, content=b"{", headers={"Content-Type": "application/json"}), 400)
    require_refusal(await client.post(PATH, data={"prompt": "x"}, files={"image": b"x"}), 415)
    require_refusal(await client.delete(PATH), 405)
    require_refusal(await client.get("/v2/video/models"), 404)
    _, secret = make_caller(database, project="others")
    require_refusal(await client_for(secret).get(PATH, params={"generation_id": make_job(database, me).id}), 404)


async def test_key__replays_the_first_answer(client: httpx2.AsyncClient, database: Database) -> None:
    headers = {"Idempotency-Key": "order-1"}
    first, again = [await client.post(PATH, json=ORDER, headers=headers) for _ in range(2)]
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert count(database, "jobs") == 1
