"""A sandbox called in memory, with a clock that only moves when told to, and a live one for what needs TCP."""

import base64
import io
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from app.catalogue.catalogue import Catalogue, Model, load
from app.sandbox import SandboxConfig, create_app, running

KEY = {"authorization": "Bearer sandbox-key"}
PATH = "/v2/video/generations"
MORNING = 1_790_000_000.0


def invented(model_id: str, *, required: tuple[str, ...] = ("prompt",), **properties: Any) -> Model:
    """Return a model with a prompt and the given properties."""
    schema = {"type": "object", "properties": {"prompt": {"type": "string"}, **properties}, "required": list(required)}
    return Model(model_id, "Nobody", PATH, schema)


DURATION = {"type": "integer", "enum": [5, 10], "default": 5}
CATALOGUE = Catalogue(
    {model_id: load().get(model_id) for model_id in ("veo2", "veo2/image-to-video")}
    | {
        model.id: model
        for model in (
            invented("minimax/hailuo-x"),
            invented("pixverse/v9", duration=DURATION),
            invented("openai/sora-9", duration=DURATION),
            invented("klingai/v9-pro", duration=DURATION, resolution={"type": "string", "enum": ["720p", "1080p"]}),
            invented("elsewhere/plain", duration=DURATION),
            invented("elsewhere/talker", required=("audio_url",), audio_url={"type": "string", "format": "uri"}),
        )
    }
)


def picture(size: tuple[int, int] = (640, 360), colour: tuple[int, int, int] = (220, 60, 40)) -> str:
    """Return a small image as a data URI."""
    content = io.BytesIO()
    Image.new("RGB", size, colour).save(content, "PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


class Clock:
    def __init__(self) -> None:
        self.now = MORNING

    def __call__(self) -> float:
        return self.now


class Box:
    """One sandbox in memory and a client of it."""

    def __init__(self, data_dir: Path, clock: Clock, **settings: Any) -> None:
        self.clock = clock
        config = SandboxConfig(data_dir=data_dir, clock=clock, seed=1, **({"render": "tiny"} | settings))
        self.app = create_app(config, CATALOGUE)
        self.sandbox = self.app.state.sandbox
        transport = httpx2.ASGITransport(app=self.app)
        self.http = httpx2.AsyncClient(transport=transport, base_url="http://sandbox.test", headers=KEY)

    async def submit(
        self, prompt: str = "a boat", *, model: str = "veo2", headers: dict[str, str] | None = None, **inputs: Any
    ) -> httpx2.Response:
        return await self.http.post(PATH, json={"model": model, "prompt": prompt, **inputs}, headers=headers)

    async def bought(self, prompt: str = "a boat", **options: Any) -> str:
        """Submit and return the generation's id."""
        answer = await self.submit(prompt, **options)
        assert answer.status_code == 200, answer.text
        found = answer.json().get("id") or answer.json()["generation_id"]
        return str(found)

    async def poll(self, generation_id: str, **headers: str) -> httpx2.Response:
        return await self.http.get(PATH, params={"generation_id": generation_id}, headers=headers)

    def wait(self, seconds: float = 1000) -> None:
        self.clock.now += seconds

    async def finished(self, prompt: str = "a boat", **options: Any) -> dict[str, Any]:
        """Submit, let time pass and return the last poll's answer."""
        generation_id = await self.bought(prompt, **options)
        self.wait()
        answer: dict[str, Any] = (await self.poll(generation_id)).json()
        return answer

    async def ledger(self, **filters: Any) -> dict[str, Any]:
        answer: dict[str, Any] = (await self.http.get("/_sandbox/ledger", params=filters)).json()
        return answer

    async def close(self) -> None:
        await self.http.aclose()
        self.sandbox.close()


OpenBox = Callable[..., Box]


@pytest.fixture
async def open_box(tmp_path: Path) -> AsyncIterator[OpenBox]:
    """Open sandboxes with settings of one's own; each is a fresh start on the same folder and the same clock."""
    clock, opened = Clock(), []

    def open_one(**settings: Any) -> Box:
        opened.append(Box(tmp_path, clock, **settings))
        return opened[-1]

    yield open_one
    for box in opened:
        await box.close()


@pytest.fixture
def box(open_box: OpenBox) -> Box:
    return open_box()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a sandbox on a real port, a thousand times faster than life."""
    folder = tmp_path_factory.mktemp("live")
    with running(SandboxConfig(data_dir=folder, render="tiny", speed=1000, max_in_flight=500), CATALOGUE) as url:
        yield url
