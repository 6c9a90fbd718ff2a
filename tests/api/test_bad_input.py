"""Bodies that are wrong: each is a 4xx that names the field, and nothing of it is stored."""

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from app.api import intake
from app.api.deps import House
from app.db.engine import Database
from tests.api.conftest import count, data_uri, require_error, stored
from tests.factories import INPUT, LINK, picture

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def database_kind() -> str:
    """No database sees any of this; what could matter to one (NUL, numbers) is stopped before."""
    return "sqlite"


@pytest.fixture(autouse=True)
def _nothing_stored(database: Database, storage: Path) -> Any:
    yield
    assert [count(database, table) for table in ("jobs", "files", "events")] == [0, 0, 0]
    assert stored(storage) == []


def body(**changes: Any) -> dict[str, Any]:
    return {"input": INPUT} | changes


def with_input(**changes: Any) -> dict[str, Any]:
    return {"input": {name: value for name, value in (INPUT | changes).items() if value is not None}}


DEEP = b'{"input": ' + b'{"a": ' * 9_000 + b"1" + b"}" * 9_001
DEEPER = b'{"input": ' + b'{"a": ' * 100_000 + b"1" + b"}" * 100_001
HALF_DEEP = b'{"input": {"a": ' + b"[" * 40 + b"]" * 40 + b"}}"


@pytest.mark.parametrize(
    ("content", "code", "param"),
    [
        (b"", "invalid_json", None),
        (b"{", "invalid_json", None),
        (b"[]", "invalid_json", None),
        (b'"text"', "invalid_json", None),
        (b"null", "invalid_json", None),
        (b'{"input": {}} trailing', "invalid_json", None),
        (b'{"input": {"prompt": "\xff"}}', "invalid_encoding", None),
        ('{"input": {}}'.encode("utf-16"), "invalid_encoding", None),
        (DEEP, "nested_too_deep", None),
        (DEEPER, "too_many_values", None),
        (HALF_DEEP, "nested_too_deep", None),
        (b'{"model": "veo2", "model": "veo2"}', "duplicate_field", "model"),
        (b'{"max_cost_usd": NaN}', "invalid_number", "max_cost_usd"),
        (b'{"max_cost_usd": -Infinity}', "invalid_number", "max_cost_usd"),
        (b'{"max_cost_usd": 1e999}', "invalid_number", "max_cost_usd"),
        (b'{"input": {"seed": ' + b"9" * 30 + b"}}", "invalid_number", "input.seed"),
        (b'{"input": {"seed": ' + b"9" * 10_000 + b"}}", "invalid_number", "input.seed"),
        (b'{"input": {"prompt": "a\\u0000b"}}', "invalid_text", "input.prompt"),
        (b'{"input": {"prompt": "\\ud800"}}', "invalid_text", "input.prompt"),
        (b'{"input": {"list": [1, "\\udc00"]}}', "invalid_text", "input.list.1"),
        (b'{"metadata": {"a\\u0000b": "x"}}', "invalid_text", "metadata.a\ufffdb"),
        (b'{"metadata": {"\\ud800": "x"}}', "invalid_text", "metadata.?"),
    ],
)
async def test_json__that_is_no_json_is_refused(
    client: httpx2.AsyncClient, content: bytes, code: str, param: str | None
) -> None:
    require_error(await client.post("/v1/jobs", content=content, headers=JSON), 400, code=code, param=param)


@pytest.mark.parametrize(
    ("given", "param"),
    [
        (body(model="veo3/image-to-video"), "model"),
        (body(model=""), "model"),
        (body(model="x" * 201), "model"),
        (body(model=5), "model"),
        (body(model=None), "model"),
        (body(input="a prompt"), "input"),
        (body(input=[]), "input"),
        ({}, "input.prompt"),
        (with_input(prompt=None), "input.prompt"),
        (with_input(prompt=""), "input.prompt"),
        (with_input(prompt="   "), "input.prompt"),
        (with_input(prompt=["p"]), "input.prompt"),
        (with_input(prompt={"text": "p"}), "input.prompt"),
        (with_input(image_url=None), "input.image_url"),
        (with_input(duration=9), "input.duration"),
        (with_input(duration="nine"), "input.duration"),
        (with_input(duration=5.5), "input.duration"),
        (with_input(duration=True), "input.duration"),
        (with_input(aspect_ratio="1:1"), "input.aspect_ratio"),
        (with_input(enhance_prompt="maybe"), "input.enhance_prompt"),
        (with_input(seed="one"), "input.seed"),
        (with_input(resolution="4k"), "input.resolution"),
        (with_input(**{"x" * 201: 1}), f"input.{'x' * 80}"),
        (body(webhook_url="http://127.0.0.1/x"), "webhook_url"),
        (body(prompt="at the wrong place"), "prompt"),
        (body(promt=1, inputs=2), "promt"),
        (body(on_unconfirmed="again"), "on_unconfirmed"),
        (body(priority="urgent"), "priority"),
        (body(priority=1), "priority"),
        (body(max_cost_usd=0), "max_cost_usd"),
        (body(max_cost_usd=-1), "max_cost_usd"),
        (body(max_cost_usd=1e-300), "max_cost_usd"),
        (body(max_cost_usd=10_000.01), "max_cost_usd"),
        (body(max_cost_usd="3.5"), "max_cost_usd"),
        (body(max_cost_usd=True), "max_cost_usd"),
        (body(start_within_seconds=0), "start_within_seconds"),
        (body(start_within_seconds=2_592_001), "start_within_seconds"),
        (body(start_within_seconds=1.5), "start_within_seconds"),
        (body(start_within_seconds="60"), "start_within_seconds"),
        (body(metadata=[]), "metadata"),
        (body(metadata={str(n): "x" for n in range(17)}), "metadata"),
        (body(metadata={"order": "x" * 513}), "metadata.order"),
        (body(metadata={"order": 17}), "metadata.order"),
        (body(metadata={"order": None}), "metadata.order"),
        (body(metadata={"": "x"}), "metadata."),
        (body(metadata={"x" * 65: "x"}), f"metadata.{'x' * 65}"),
        (body(metadata={"or der": "x"}), "metadata.or der"),
        (body(metadata={"order\n": "x"}), "metadata.order\n"),
    ],
)
async def test_fields__that_are_wrong_are_named(client: httpx2.AsyncClient, given: dict[str, Any], param: str) -> None:
    response = await client.post("/v1/jobs", json=given)
    require_error(response, 400, param=param)
    assert response.headers["x-should-retry"] == "false"


async def test_errors__help(client: httpx2.AsyncClient) -> None:
    async def message(given: dict[str, Any]) -> str:
        return str(require_error(await client.post("/v1/jobs", json=given), 400)["message"])

    assert "Did you mean 'veo2/image-to-video'" in await message(body(model="veo3/image-to-video"))
    assert "Did you mean 'duration'?" in await message(with_input(durations=5))
    assert "Did you mean 'metadata'?" in await message(body(metadatas={}))
    assert "belong into 'input'" in await message(body(prompt="p"))
    assert "must be one of 5, 6, 7, 8." in await message(with_input(duration=9))


@pytest.mark.parametrize(
    "link",
    [
        "",
        "cat.jpg",
        "//host/cat.jpg",
        "http://",
        "http:///cat.jpg",
        "ftp://host/cat.jpg",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://host:port/",
        "http://host:99999/",
        "http://[::1/",
        "http://ho st/",
        "http://host/\n",
        "http://host\\@other/",
        "https://host/" + "x" * 8192,
    ],
)
async def test_links__must_be_usable(client: httpx2.AsyncClient, link: str) -> None:
    require_error(await client.post("/v1/jobs", json=with_input(image_url=link)), 400, param="input.image_url")


def test_links__of_any_usable_form_are_taken() -> None:
    links = (LINK, "HTTP://HOST/", "http://user:pw@host:8080/?q#f", "http://[::1]:8080/x", "https://bücher.example/ü")
    for link in links:
        intake.require_link(link, param="p")


def bomb(width: int, height: int) -> bytes:
    """A small PNG that says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\x00" * 1_000_000)) + chunk(b"IEND", b"")


def gif() -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (4, 4)).save(written, "GIF")
    return written.getvalue()


BAD_IMAGES = {
    "text": b"no image at all",
    "empty": b"",
    "gif": gif(),
    "cut off": picture(size=(64, 64))[:-200],
    "only a head": b"\xff\xd8\xff\xe0",
    "bomb": bomb(60_000, 60_000),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
async def test_images__that_are_none_are_refused(client: httpx2.AsyncClient, kind: str) -> None:
    data = BAD_IMAGES[kind]
    # A good image before the bad one: it is not kept either.
    given = with_input(image_url=data_uri(picture()), tail_image_url=data_uri(data))
    require_error(await client.post("/v1/jobs", json=given), 400, code="invalid_image", param="input.tail_image_url")
    form = await client.post("/v1/jobs", data={"prompt": "p"}, files={"image": ("x.jpg", data, "image/jpeg")})
    require_error(form, 400, code="invalid_image", param="input.image_url")


@pytest.mark.parametrize(
    "uri",
    [
        "data:",
        "data:,",
        "data:image/jpeg;base64,",
        "data:image/jpeg;base64,%%%%",
        "data:image/jpeg,abc",
        "data:text/html;base64,PGI+",
        "DATA:image/jpeg;base64,AAAA",
    ],
)
async def test_data_uris__that_are_wrong_are_refused(client: httpx2.AsyncClient, uri: str) -> None:
    refused = await client.post("/v1/jobs", json=with_input(image_url=uri))
    require_error(refused, 400, code="invalid_image", param="input.image_url")


async def test_images__above_the_cap_are_refused(client: httpx2.AsyncClient, house: House) -> None:
    large = picture() + b"\x00" * house.max_image_bytes
    refused = await client.post("/v1/jobs", data={"prompt": "p"}, files={"image": ("x.jpg", large, "image/jpeg")})
    require_error(refused, 400, code="invalid_image", param="input.image_url")


async def test_files__that_are_unknown_are_named(client: httpx2.AsyncClient) -> None:
    refused = await client.post("/v1/jobs", json=with_input(image_url="file_unknown"))
    require_error(refused, 400, code="file_not_found", param="input.image_url")


async def test_input__has_a_size(client: httpx2.AsyncClient) -> None:
    refused = await client.post("/v1/jobs", json=with_input(prompt="x" * 300_000))
    require_error(refused, 400, code="input_too_large", param="input")


def form(*parts: tuple[str, bytes], end: bytes = b"--x--\r\n") -> bytes:
    return (
        b"".join(
            b"--x\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + data + b"\r\n"
            for head, data in parts
        )
        + end
    )


PROMPT = ('name="prompt"', b"p")
IMAGE = ('name="image_url"', LINK.encode())


@pytest.mark.parametrize(
    ("content", "code", "param"),
    [
        (b"", "invalid_form", None),
        (b"rubbish", "invalid_form", None),
        (form(PROMPT, IMAGE, end=b""), "invalid_form", None),
        (form(PROMPT, IMAGE)[:-12], "invalid_form", None),
        (form(PROMPT, ("filename=x", b"y")), "invalid_form", None),
        (form(*[PROMPT] * 65), "too_many_parts", None),
        (form(PROMPT, PROMPT, IMAGE), "duplicate_field", "input.prompt"),
        (form(PROMPT, IMAGE, ('name="image"; filename="x"', b"y")), "duplicate_field", "input.image_url"),
        (form(("name=prompt", b"\xff"), IMAGE), "invalid_encoding", "prompt"),
        (form(("name=prompt", b"a\x00b"), IMAGE), "invalid_text", "prompt"),
        (form(IMAGE), "invalid_input", "input.prompt"),
        (form(PROMPT), "invalid_input", "input.image_url"),
        (form(PROMPT, IMAGE, ("name=color", b"red")), "unknown_parameter", "input.color"),
        (form(PROMPT, IMAGE, ("name=webhook_url", b"http://127.0.0.1/")), "invalid_webhook_url", "webhook_url"),
        (form(PROMPT, IMAGE, ("name=model", b"veo9")), "unknown_model", "model"),
        (form(PROMPT, IMAGE, ("name=max_cost_usd", b"much")), "invalid_request", "max_cost_usd"),
        (form(PROMPT, IMAGE, ("name=max_cost_usd", b"nan")), "invalid_request", "max_cost_usd"),
        (form(PROMPT, IMAGE, ("name=metadata", b"{")), "invalid_json", "metadata"),
        (form(PROMPT, IMAGE, ("name=metadata[]", b"x")), "invalid_request", "metadata."),
        (
            form(PROMPT, IMAGE, ('name="metadata[a]"', b"x"), ('name="metadata[a]"', b"y")),
            "duplicate_field",
            "metadata.a",
        ),
        (form(PROMPT, IMAGE, ('name="audio"; filename="x"', b"y")), "unknown_parameter", "input.audio"),
        (form(PROMPT, IMAGE, ('name="prompt2"; filename="x"', b"y")), "unknown_parameter", "input.prompt2"),
        (form(IMAGE, ('name="prompt"; filename="x"', b"y")), "unknown_parameter", "input.prompt"),
        (form(PROMPT, ("name=image_url", b"attached:0")), "invalid_input", "input.image_url"),
        (
            form(PROMPT, ("name=model", b"veo2"), ('name="image"; filename="x"', b"y")),
            "unknown_parameter",
            "input.image",
        ),
    ],
)
async def test_form__faults_are_named(client: httpx2.AsyncClient, content: bytes, code: str, param: str | None) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    require_error(await client.post("/v1/jobs", content=content, headers=headers), 400, code=code, param=param)


async def test_form__needs_a_boundary(client: httpx2.AsyncClient) -> None:
    for content_type in (
        "multipart/form-data",
        "multipart/form-data; boundary=",
        f"multipart/form-data; boundary={'x' * 500}",
    ):
        refused = await client.post("/v1/jobs", content=form(PROMPT), headers={"Content-Type": content_type})
        require_error(refused, 400, code="invalid_form")


async def test_json__large_bodies_are_parsed_the_same(client: httpx2.AsyncClient) -> None:
    given = json.dumps(body(metadata={"order": "x" * 100_000}))
    require_error(await client.post("/v1/jobs", content=given, headers=JSON), 400, param="metadata.order")


async def test_retry__names_what_is_wrong_first(client: httpx2.AsyncClient) -> None:
    refused = await client.post(f"/v1/jobs/job_{'0' * 32}/retry", content=b"{", headers=JSON)
    require_error(refused, 400, code="invalid_json")
