"""/v1/files: what is taken, how it is kept, who sees it, and when it can be deleted."""

import asyncio
import hashlib
import io
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from app.api import receiving, routes
from app.api.callers import Caller
from app.api.deps import House
from app.api.receiving import AROUND_BYTES
from app.db import files
from app.db.engine import Database
from app.domain.actor import Actor
from app.domain.errors import StorageFailed, Unavailable
from app.domain.job import File
from app.domain.secrets import Scope
from app.domain.states import JobState
from app.media.store import Store
from app.workers.sweep import Sweeper
from tests.api.conftest import ClientFor, MakeHouse, count, require_error, stored
from tests.clips import clip, sound, talkie
from tests.conftest import Clock, one_database
from tests.factories import INPUT, MODEL, make_caller, make_job, picture
from tests.media.takeover import DEEDS, take_over

GPS = 0x8825
ORIENTATION = 0x0112


@pytest.fixture
def spool(house: House, tmp_path: Path) -> Path:
    folder = tmp_path / "spool"
    object.__setattr__(house, "spool", folder)
    return folder


def form(data: bytes, name: str = "a.jpg") -> dict[str, Any]:
    return {"file": (name, data)}


async def upload(client: httpx2.AsyncClient, data: bytes | None = None, **headers: str) -> dict[str, Any]:
    answer = await client.post("/v1/files", files=form(picture() if data is None else data), headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/files/{answer.json()['id']}"
    found: dict[str, Any] = answer.json()
    return found


def image(size: tuple[int, int], *, kind: str = "JPEG", exif: Image.Exif | None = None) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", size, (20, 90, 200)).save(written, kind, **({"exif": exif} if exif else {}))
    return written.getvalue()


async def test_upload__is_described_and_read_back(client: httpx2.AsyncClient, storage: Path, house: House) -> None:
    made = await upload(client, picture("PNG", (30, 20)))
    assert made["id"].startswith("file_")
    assert (made["object"], made["content_type"], made["width"], made["height"]) == ("file", "image/png", 30, 20)
    assert made["scaled_from"] is None
    life = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"])
    assert life == house.file_retention
    assert (await client.get(f"/v1/files/{made['id']}")).json() == made
    content = await client.get(f"/v1/files/{made['id']}/content")
    assert hashlib.sha256(content.content).hexdigest() == made["sha256"]
    assert len(content.content) == made["size_bytes"] == int(content.headers["content-length"])
    assert content.headers["content-type"] == "image/png"
    assert stored(storage) == [f"uploads/{made['id']}.png"]


@one_database
@pytest.mark.parametrize(
    ("data", "content_type", "size"),
    [
        (picture(), "image/jpeg", (8, 6)),
        (picture("WEBP"), "image/png", (8, 6)),
        (clip(), "video/mp4", (64, 48)),
        (clip("mov"), "video/quicktime", (64, 48)),
        (clip("webm", "libvpx"), "video/webm", (64, 48)),
        (talkie(), "video/mp4", (64, 48)),
        (sound(), "audio/wav", (None, None)),
        (sound("mp4", "aac"), "audio/mp4", (None, None)),
        (sound("webm", "libopus"), "audio/webm", (None, None)),
    ],
    ids=["jpeg", "webp", "mp4", "mov", "webm", "talkie", "wav", "m4a", "weba"],
)
async def test_upload__kind_is_what_decoding_finds(
    client: httpx2.AsyncClient, data: bytes, content_type: str, size: tuple[int | None, int | None]
) -> None:
    answer = await client.post("/v1/files", files={"file": ("page.html", data, "text/html")})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["content_type"], (made["width"], made["height"])) == (content_type, size)
    content = await client.get(f"/v1/files/{made['id']}/content")
    assert content.headers["content-type"] == content_type


@one_database
async def test_upload__image_is_turned_upright_and_stripped(client: httpx2.AsyncClient) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif.get_ifd(GPS)[2] = (52.0, 31.0, 12.0)
    exif[0x010F] = "the-camera-of-somebody"
    photo = image((40, 20), exif=exif)
    assert b"the-camera" in photo
    made = await upload(client, photo)
    assert (made["width"], made["height"]) == (20, 40)
    kept = (await client.get(f"/v1/files/{made['id']}/content")).content
    assert b"the-camera" not in kept and b"Exif" not in kept
    assert dict(Image.open(io.BytesIO(kept)).getexif()) == {}


@one_database
async def test_upload__large_image_is_scaled_and_says_so(client: httpx2.AsyncClient, house: House) -> None:
    object.__setattr__(house, "max_image_side", 100)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    made = await upload(client, image((300, 150), exif=exif))
    assert (made["width"], made["height"]) == (50, 100)
    assert made["scaled_from"] == {"width": 150, "height": 300}
    assert (await client.get(f"/v1/files/{made['id']}")).json() == made


@one_database
@pytest.mark.parametrize(
    ("data", "code", "says"),
    [
        (b"", "invalid_file", "empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "invalid_file", "an SVG"),
        (b"<!DOCTYPE html><script>alert(1)</script>", "invalid_file", "a web page"),
        (b"GIF89a" + bytes(40), "invalid_file", "a GIF"),
        (b"%PDF-1.7", "invalid_file", "a PDF"),
        (picture()[:200], "invalid_image", "damaged"),
        (clip()[:300], "invalid_video", ""),
        (b"\xff\xd8\xff<html>", "invalid_image", "damaged"),
    ],
    ids=["empty", "svg", "html", "gif", "pdf", "half a jpeg", "half an mp4", "a mere signature"],
)
async def test_upload__refuses_what_does_not_decode(
    client: httpx2.AsyncClient, storage: Path, spool: Path, database: Database, data: bytes, code: str, says: str
) -> None:
    answer = await client.post("/v1/files", files=form(data))
    assert says in require_error(answer, 400, code=code, param="file")["message"]
    assert (stored(storage), list(spool.iterdir()), count(database, "files")) == ([], [], 0)


@one_database
async def test_upload__refuses_a_bomb(client: httpx2.AsyncClient, storage: Path) -> None:
    bomb = image((9000, 6000), kind="PNG")
    assert len(bomb) < 400_000  # of 162 MB
    error = require_error(await client.post("/v1/files", files=form(bomb)), 400, code="invalid_image", param="file")
    assert "9000 x 6000" in error["message"]
    assert stored(storage) == []


@one_database
@pytest.mark.parametrize(
    ("deed", "data", "code"),
    [
        *((deed, picture(), "image_not_decodable") for deed in DEEDS),
        ("die", clip(), "video_not_decodable"),
        ("die", sound(), "audio_not_decodable"),
    ],
    ids=[*DEEDS, "die over a video", "die over a sound"],
)
async def test_upload__that_takes_its_decoder_over_costs_a_refusal(
    client: httpx2.AsyncClient,
    storage: Path,
    spool: Path,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    deed: str,
    data: bytes,
    code: str,
) -> None:
    with monkeypatch.context() as patch:
        take_over(patch, deed)
        refused, meanwhile = await asyncio.gather(client.post("/v1/files", files=form(data)), client.get("/v1/jobs"))
    require_error(refused, 400, code=code, param="file")
    assert meanwhile.status_code == 200
    assert (stored(storage), list(spool.iterdir()), count(database, "files")) == ([], [], 0)
    await upload(client, data)


@one_database
async def test_upload__has_a_cap_for_each_kind(client: httpx2.AsyncClient, house: House, storage: Path) -> None:
    for name, data in (("max_image_bytes", picture()), ("max_clip_bytes", clip()), ("max_sound_bytes", sound())):
        before = getattr(house, name)
        object.__setattr__(house, name, len(data) - 1)
        refused = require_error(await client.post("/v1/files", files=form(data)), 400, param="file")
        assert f"larger than {len(data) - 1} bytes" in refused["message"]
        object.__setattr__(house, name, len(data))
        await upload(client, data)
        object.__setattr__(house, name, before)
    assert len(stored(storage)) == 3


class Slowly:
    """A form's body that looks at the disk while it is sent."""

    def __init__(self, body: bytes, spool: Path) -> None:
        self.body, self.spool = body, spool
        self.sent = 0
        self.most_held = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.body), 1 << 16):
            yield self.body[start : start + (1 << 16)]
            self.sent += len(self.body[start : start + (1 << 16)])
            written = sum(path.stat().st_size for path in self.spool.glob("*/*"))
            self.most_held = max(self.most_held, self.sent - written)


def multipart(data: bytes) -> tuple[bytes, dict[str, str]]:
    head = b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    return head + data + b"\r\n--xyz--\r\n", {"Content-Type": "multipart/form-data; boundary=xyz"}


@one_database
async def test_upload__is_written_as_it_comes(client: httpx2.AsyncClient, spool: Path, house: House) -> None:
    body, headers = multipart(bytes(8 << 20))
    sending = Slowly(body, spool)
    answer = await client.post("/v1/files", content=sending, headers=headers)
    require_error(answer, 400, code="invalid_file")
    assert sending.sent == len(body)
    assert 0 < sending.most_held < 1 << 20
    assert list(spool.iterdir()) == []


@one_database
async def test_upload__ends_at_the_cap(client: httpx2.AsyncClient, spool: Path, house: House) -> None:
    for name in ("max_image_bytes", "max_clip_bytes", "max_sound_bytes"):
        object.__setattr__(house, name, 1 << 20)
    body, headers = multipart(bytes(8 << 20))
    sending = Slowly(body, spool)
    answer = await client.post("/v1/files", content=sending, headers=headers)
    require_error(answer, 413, code="payload_too_large")
    assert sending.sent < (1 << 20) + 4 * AROUND_BYTES
    stated = await client.post("/v1/files", content=body, headers=headers)
    require_error(stated, 413, code="payload_too_large")
    assert list(spool.iterdir()) == []


@one_database
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_form"),
        (b"--xyz--\r\n", "invalid_request"),
        (multipart(picture())[0][:-9], "invalid_form"),
        (multipart(picture())[0].replace(b'"file"', b'"picture"'), "unknown_field"),
        (multipart(picture())[0][:-9] + b"\r\n" + multipart(picture())[0], "duplicate_field"),
    ],
    ids=["nothing", "no part", "cut off", "another name", "two files"],
)
async def test_upload__refuses_other_forms(client: httpx2.AsyncClient, storage: Path, body: bytes, code: str) -> None:
    answer = await client.post("/v1/files", content=body, headers=multipart(b"")[1])
    require_error(answer, 400, code=code)
    assert stored(storage) == []


@one_database
async def test_upload__takes_forms_only(client: httpx2.AsyncClient) -> None:
    require_error(await client.post("/v1/files", json={"file": "x"}), 415)
    packed = await client.post(
        "/v1/files", content=multipart(picture())[0], headers=multipart(b"")[1] | {"Content-Encoding": "gzip"}
    )
    require_error(packed, 415)
    nameless = await client.post("/v1/files", content=b"x", headers={"Content-Type": "multipart/form-data"})
    require_error(nameless, 400, code="invalid_form")


class Full(Store):
    async def put_bytes(self, key: str, data: bytes, *, content_type: str) -> None:
        raise StorageFailed("full")


async def test_upload__full_storage_leaves_nothing(
    client_for: ClientFor, caller: tuple[Caller, str], house: House, storage: Path, database: Database
) -> None:
    app = routes.build(replace(house, store=Full.open(str(storage))))
    answer = await client_for(caller[1], app=app).post("/v1/files", files=form(picture()))
    require_error(answer, 503, code="storage_unavailable")
    assert (stored(storage), count(database, "files")) == ([], 0)


@one_database
async def test_upload__full_disk_is_503(
    client: httpx2.AsyncClient, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    require_error(await client.post("/v1/files", files=form(picture())), 503, code="storage_unavailable")


# --- asked twice


async def test_idempotency_key__gives_the_first_answer_again(
    client: httpx2.AsyncClient, storage: Path, database: Database
) -> None:
    first = await client.post("/v1/files", files=form(picture()), headers={"Idempotency-Key": "k"})
    again = await client.post("/v1/files", files=form(picture(), "other.png"), headers={"Idempotency-Key": '"k"'})
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotent-replayed"] == "true" and "idempotent-replayed" not in first.headers
    assert again.headers["location"] == first.headers["location"]
    other = await client.post("/v1/files", files=form(picture("PNG")), headers={"Idempotency-Key": "k"})
    require_error(other, 422, code="idempotency_key_reused")
    assert (len(stored(storage)), count(database, "files")) == (1, 1)


async def test_idempotency_key__of_several_at_once_one_makes_the_file(
    client: httpx2.AsyncClient, storage: Path, database: Database
) -> None:
    def post() -> Any:
        return client.post("/v1/files", files=form(picture()), headers={"Idempotency-Key": "k"})

    answers = await asyncio.gather(*(post() for _ in range(4)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert (len(stored(storage)), count(database, "files")) == (1, 1)


@one_database
async def test_idempotency_key__of_a_deleted_file_is_gone(client: httpx2.AsyncClient) -> None:
    made = await upload(client, **{"Idempotency-Key": "k"})
    assert (await client.delete(f"/v1/files/{made['id']}")).status_code == 204
    again = await client.post("/v1/files", files=form(picture()), headers={"Idempotency-Key": "k"})
    require_error(again, 410, code="made_and_deleted")


@one_database
async def test_no_key__two_uploads_are_two_files(client: httpx2.AsyncClient) -> None:
    assert (await upload(client))["id"] != (await upload(client))["id"]


# --- whose it is


async def test_file__is_the_projects_own(client: httpx2.AsyncClient, client_for: ClientFor, database: Database) -> None:
    """Another project's and another subject's file answers as one that never was."""
    made = await upload(client)
    _, stranger = make_caller(database, project="others")
    _, subject = make_caller(database, subject="anna")
    for other in (client_for(stranger), client_for(subject)):
        for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
            found = require_error(await other.request(method, f"/v1/files/{made['id']}{path}"), 404)
            never = require_error(await other.request(method, f"/v1/files/file_0{path}"), 404)
            assert found | {"request_id": 0} == never | {"request_id": 0}
        order = {"model": MODEL, "input": INPUT | {"image_url": made["id"]}}
        require_error(await other.post("/v1/jobs", json=order), 400, code="file_not_found")
    own = await upload(client_for(subject))
    assert (await client.get(f"/v1/files/{own['id']}")).status_code == 200  # the project's key sees every subject's


@one_database
@pytest.mark.parametrize(
    ("scope", "method", "status"),
    [
        (Scope.JOBS_READ, "POST", 403),
        (Scope.JOBS_READ, "DELETE", 403),
        (Scope.JOBS_READ, "GET", 200),
        (Scope.JOBS_WRITE, "GET", 403),
    ],
)
async def test_file__needs_the_scope(
    client: httpx2.AsyncClient, client_for: ClientFor, database: Database, scope: Scope, method: str, status: int
) -> None:
    made = await upload(client)
    _, secret = make_caller(database, scopes=frozenset({scope}))
    path = "/v1/files" if method == "POST" else f"/v1/files/{made['id']}"
    assert (await client_for(secret).request(method, path)).status_code == status
    require_error(await client_for().request(method, path), 401, code="missing_api_key")


# --- content


@one_database
async def test_content__answers_ranges_tags_and_head(client: httpx2.AsyncClient) -> None:
    made = await upload(client, clip())
    path = f"/v1/files/{made['id']}/content"
    whole = await client.get(path)
    assert whole.content == clip()
    part = await client.get(path, headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    head = await client.head(path)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(clip())), b"")
    known = await client.get(path, headers={"If-None-Match": whole.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    require_error(await client.get(path, headers={"Range": "bytes=999999999-"}), 416)
    assert whole.headers["content-disposition"] == f'inline; filename="{made["id"]}.mp4"'
    saved = await client.get(path, params={"download": "true"})
    assert saved.headers["content-disposition"].startswith("attachment")
    assert "private" in whole.headers["cache-control"]


@one_database
@pytest.mark.parametrize("content_type", ["text/html", "image/svg+xml", "application/pdf", "image/x-unheard-of"])
async def test_content__what_is_no_medium_is_never_shown_as_such(
    client: httpx2.AsyncClient, me: Caller, database: Database, house: House, content_type: str
) -> None:
    """However such a row came about: what comes back is bytes to save."""
    now = datetime.now().astimezone()
    row = File(
        id="file_odd",
        project_id=me.project.id,
        subject=None,
        content_type=content_type,
        size_bytes=9,
        width=None,
        height=None,
        sha256="0" * 64,
        storage_key="uploads/file_odd.html",
        created_at=now,
        expires_at=now + timedelta(days=1),
    )
    await house.store.put_bytes(row.storage_key, b"<script/>", content_type=content_type)
    await house.db.write(lambda conn: files.insert(conn, row))
    for method in ("GET", "HEAD"):
        answer = await client.request(method, "/v1/files/file_odd/content")
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"


@one_database
async def test_content__bytes_that_are_gone_are_404(client: httpx2.AsyncClient, storage: Path) -> None:
    made = await upload(client)
    (storage / f"uploads/{made['id']}.jpg").unlink()
    require_error(await client.get(f"/v1/files/{made['id']}/content"), 404, code="content_missing")


# --- in jobs, and the end


async def order(client: httpx2.AsyncClient, file_id: str) -> str:
    made = await client.post("/v1/jobs", json={"model": MODEL, "input": INPUT | {"image_url": file_id}})
    assert made.status_code == 201, made.text
    found: str = made.json()["id"]
    return found


async def test_delete__refused_while_a_job_needs_it(
    client: httpx2.AsyncClient, storage: Path, database: Database
) -> None:
    made = await upload(client)
    job_id = await order(client, made["id"])
    refused = require_error(await client.delete(f"/v1/files/{made['id']}"), 409, code="file_in_use")
    assert "Cancel the job" in refused["message"]
    assert (await client.post(f"/v1/jobs/{job_id}/cancel")).status_code == 200
    assert (await client.delete(f"/v1/files/{made['id']}")).status_code == 204
    assert (stored(storage), count(database, "files")) == ([], 0)
    require_error(await client.get(f"/v1/files/{made['id']}"), 404)
    require_error(await client.delete(f"/v1/files/{made['id']}"), 404)
    require_error(await client.post(f"/v1/jobs/{job_id}/retry"), 409, code="input_expired")


@one_database
@pytest.mark.parametrize("state", list(JobState))
async def test_delete__asks_the_jobs_state(
    client: httpx2.AsyncClient, database: Database, me: Caller, state: JobState
) -> None:
    made = await upload(client)
    make_job(database, me, state=state, input=INPUT | {"image_url": made["id"]})
    ended = state in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED, JobState.ABANDONED)
    assert (await client.delete(f"/v1/files/{made['id']}")).status_code == (204 if ended else 409)


async def test_delete__and_a_create_at_once_agree(client: httpx2.AsyncClient) -> None:
    """Either the job has its file, or it is refused: never a job whose file was deleted under it."""
    for _ in range(5):
        made = await upload(client)
        body = {"model": MODEL, "input": INPUT | {"image_url": made["id"]}}
        created, deleted = await asyncio.gather(
            client.post("/v1/jobs", json=body), client.delete(f"/v1/files/{made['id']}")
        )
        assert (created.status_code, deleted.status_code) in {(201, 409), (400, 204)}


@one_database
async def test_delete__of_a_job_keeps_its_uploaded_file(client: httpx2.AsyncClient, storage: Path) -> None:
    made = await upload(client)
    job_id = await order(client, made["id"])
    await client.post(f"/v1/jobs/{job_id}/cancel")
    assert (await client.delete(f"/v1/jobs/{job_id}")).status_code == 204
    assert (await client.get(f"/v1/files/{made['id']}/content")).status_code == 200


@one_database
async def test_file__that_came_within_a_job_is_a_file_too(client: httpx2.AsyncClient) -> None:
    job = await client.post("/v1/jobs", data={"prompt": "x"}, files={"image": ("a.jpg", picture())})
    file_id = job.json()["input"]["image_url"]
    found = (await client.get(f"/v1/files/{file_id}")).json()
    assert (found["id"], found["content_type"]) == (file_id, "image/jpeg")
    require_error(await client.delete(f"/v1/files/{file_id}"), 409, code="file_in_use")


async def test_retention__ends_it(
    client: httpx2.AsyncClient, clock: Clock, storage: Path, house_sweeper: Sweeper, database: Database
) -> None:
    made = await upload(client, **{"Idempotency-Key": "k"})
    used = await upload(client)
    await order(client, used["id"])
    clock.move(days=7, seconds=1)
    require_error(await client.get(f"/v1/files/{made['id']}"), 404)
    require_error(await client.get(f"/v1/files/{made['id']}/content"), 404)
    await house_sweeper.run_once()
    assert stored(storage) == [f"uploads/{used['id']}.jpg"]
    assert (await client.get(f"/v1/files/{used['id']}")).status_code == 200  # a job needs it


@one_database
async def test_retention__a_use_moves_it_on(client: httpx2.AsyncClient, clock: Clock) -> None:
    made = await upload(client)
    clock.move(days=3)
    await order(client, made["id"])
    later = (await client.get(f"/v1/files/{made['id']}")).json()
    moved = datetime.fromisoformat(later["expires_at"]) - datetime.fromisoformat(made["expires_at"])
    assert timedelta(days=3) <= moved < timedelta(days=3, minutes=5)


class Refusing(Database):
    """Away when it is to write."""

    async def write(self, work: Any, *, by: Actor | None = None) -> Any:
        raise Unavailable("away")


class Losing(Database):
    """Commits, and dies before it says so."""

    async def write(self, work: Any, *, by: Actor | None = None) -> Any:
        await super().write(work, by=by)
        raise Unavailable("away")


class Breaking(Database):
    async def write(self, work: Any, *, by: Actor | None = None) -> Any:
        raise RuntimeError("broken")


@one_database
@pytest.mark.parametrize(("kind", "status", "kept"), [(Refusing, 503, 0), (Losing, 503, 1), (Breaking, 500, 0)])
async def test_lost_answer__bytes_stay_only_beside_a_row(
    client_for: ClientFor,
    caller: tuple[Caller, str],
    make_house: MakeHouse,
    storage: Path,
    database: Database,
    kind: type[Database],
    status: int,
    kept: int,
) -> None:
    broken = client_for(caller[1], app=routes.build(make_house(kind)))
    assert (await broken.post("/v1/files", files=form(picture()))).status_code == status
    assert (len(stored(storage)), count(database, "files")) == (kept, kept)


def test_receiving__gathers_little() -> None:
    """The test of streaming above proves nothing once a piece may be as large as its limit."""
    assert receiving.WRITE_BYTES < 1 << 20
