"""Every call of the stock SDK's videos and models, and the errors it raises. Run with KEY and REELAY set."""

import os
import warnings
from datetime import UTC, datetime
from pathlib import Path

import openai

from app.domain.webhooks import new_secret, signed_headers

warnings.simplefilter("ignore")  # 3.x warns of the end of OpenAI's own service
print("openai", openai.__version__)
client = openai.OpenAI(base_url=f"{os.environ['REELAY']}/v1", api_key=os.environ["KEY"])


def raised(kind, call, **fields):
    """Return the error that the call raises; it must be of this kind."""
    try:
        call(**fields)
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


first = client.videos.create(prompt="A fox wakes up.", model="veo2", seconds="5", extra_body={"seed": 7})
assert (first.status, first.seconds, first.prompt) == ("queued", "5", "A fox wakes up."), first
assert raised(openai.BadRequestError, client.videos.download_content, video_id=first.id).code == "video_not_ready"
first = client.videos.poll(first.id, poll_interval_ms=200)
assert (first.status, first.progress) == ("completed", 100), first
content = client.videos.download_content(first.id)
assert content.read()[4:8] == b"ftyp"
thumbnail = client.videos.download_content(first.id, variant="thumbnail")
assert thumbnail.response.headers["content-type"] == "image/jpeg"
with client.videos.with_streaming_response.download_content(first.id) as streamed:
    assert sum(len(chunk) for chunk in streamed.iter_bytes()) == len(content.content)

second = client.videos.create_and_poll(
    prompt="The sailboat drifts on.",
    model="veo2/image-to-video",
    input_reference=("boat.jpg", Path("app/web/sample.jpg").read_bytes(), "image/jpeg"),
    size="720x1280",
    extra_body={"metadata": {"order": "A-21"}, "enhance_prompt": False},
    poll_interval_ms=200,
)
assert (second.status, second.size) == ("completed", "720x1280"), second
assert client.videos.retrieve(second.id).id == second.id

third = client.videos.remix(first.id, prompt="A wolf wakes up.")
assert (third.remixed_from_video_id, third.prompt, third.seconds) == (first.id, "A wolf wakes up.", "5"), third
failed = client.videos.create_and_poll(prompt="A fox. [[fault:fail]]", model="veo2", poll_interval_ms=200)
assert (failed.status, failed.error.code) == ("failed", "upstream_failed"), failed
listed = [video.id for video in client.videos.list(limit=1)]
assert listed[:4] == [failed.id, third.id, second.id, first.id], listed
assert [video.id for video in client.videos.list(limit=2, order="asc")] == listed[::-1]
deleted = client.videos.delete(second.id)
assert (deleted.id, deleted.deleted, deleted.object) == (second.id, True, "video.deleted")
assert raised(openai.NotFoundError, client.videos.retrieve, video_id=second.id).code == "not_found"

refused = raised(openai.BadRequestError, client.videos.create, prompt="x", model="veo2", seconds="4")
assert (refused.code, refused.param, refused.type) == ("invalid_input", "seconds", "invalid_request_error")
refused = raised(openai.BadRequestError, client.videos.create, prompt="x", model="veo2", size="1792x1024")
assert refused.param == "size"
refused = raised(openai.BadRequestError, client.videos.create, prompt="x", model="sora-9")
assert (refused.code, refused.param) == ("unknown_model", "model")
refused = raised(openai.BadRequestError, client.videos.create, prompt="x", model="veo2", extra_body={"seeed": 1})
assert (refused.code, refused.param) == ("unknown_parameter", "seeed")
assert raised(openai.NotFoundError, client.videos.remix, video_id="video_1", prompt="x").code == "not_found"
stranger = client.with_options(api_key="rly_wrong")
assert raised(openai.AuthenticationError, stranger.videos.list).code == "invalid_api_key"
refused = raised(openai.BadRequestError, client.post, path="/videos/extensions", cast_to=object, body={})
assert refused.code == "unsupported_operation"

models = {model.id: model for model in client.models.list()}
assert {"veo2", "veo2/image-to-video"} <= models.keys()
assert client.models.retrieve("veo2").owned_by == models["veo2"].owned_by == "Google"
secret, body = (
    new_secret(),
    b'{"id": "evt_1", "object": "event", "type": "job.succeeded", "created_at": 1, "data": {"id": "job_1"}}',
)
headers = signed_headers(event_id="evt_1", body=body, sent_at=datetime.now(UTC), secrets=(new_secret(), secret))
assert client.webhooks.unwrap(body, headers, secret=secret).type == "job.succeeded"
raised(openai.InvalidWebhookSignatureError, client.webhooks.unwrap, payload=body + b" ", headers=headers, secret=secret)
print("all done")
