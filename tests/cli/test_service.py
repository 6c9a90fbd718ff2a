"""What the client does when the network, or the service, misbehaves: at the other end is a bare HTTP server."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from app.cli import pictures
from app.cli.exits import Away, Exit, Left, Refused, worst
from app.cli.saving import NotSaved, save
from app.cli.service import Service
from app.domain.errors import SettingsError

VIDEO = bytes(range(256)) * 4096
JOB: dict[str, Any] = {"id": "job_1", "video": {"sha256": hashlib.sha256(VIDEO).hexdigest(), "size_bytes": len(VIDEO)}}
FORM = [pictures.text("prompt", "A boat")]


class Stranger(ThreadingHTTPServer):
    """Answers as told, one answer after the other, the last for ever; None hangs up."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.answers: list[tuple[int, dict[str, str], bytes] | None] = []
        self.keys: list[str | None] = []
        self.secrets: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answering(BaseHTTPRequestHandler):
    server: Stranger

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.answer()

    def answer(self) -> None:
        self.server.keys.append(self.headers["idempotency-key"])
        self.server.secrets.append(self.headers["authorization"])
        answers = self.server.answers
        told = answers.pop(0) if len(answers) > 1 else answers[0]
        if told is None:
            self.close_connection = True
            return
        status, headers, body = told
        self.send_response(status)
        for name, value in ({"content-length": str(len(body)), "content-type": "application/json"} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    with Stranger() as server:
        serving = threading.Thread(target=lambda: server.serve_forever(0.01))
        serving.start()
        yield server
        server.shutdown()
        serving.join()


@pytest.fixture
def service(stranger: Stranger) -> Iterator[Service]:
    opened = Service(stranger.url, "rly_test")
    yield opened
    opened.close()


def good(body: bytes = b'{"id": "job_1"}') -> tuple[int, dict[str, str], bytes]:
    return 200, {}, body


def film(body: bytes, **headers: str) -> tuple[int, dict[str, str], bytes]:
    return 200, {"content-type": "video/mp4"} | headers, body


def envelope(status: int, code: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    return status, headers, f'{{"error": {{"code": "{code}", "message": "No.", "param": null}}}}'.encode()


def test_create__sends_the_same_key_again_when_no_answer_came(stranger: Stranger, service: Service) -> None:
    stranger.answers = [None, envelope(503, "database_unavailable"), good()]
    assert service.create("/v1/jobs", form=FORM, idempotency_key="k1") == {"id": "job_1"}
    assert stranger.keys == ["k1", "k1", "k1"]


def test_create__waits_for_its_own_twin(stranger: Stranger, service: Service) -> None:
    stranger.answers = [envelope(409, "idempotency_in_progress", **{"retry-after": "0"}), good()]
    assert service.create("/v1/jobs", form=FORM, idempotency_key="k1") == {"id": "job_1"}


def test_create__a_refusal_is_not_repeated(stranger: Stranger, service: Service) -> None:
    stranger.answers = [envelope(400, "invalid_input")]
    with pytest.raises(Refused) as refused:
        service.create("/v1/jobs", form=FORM, idempotency_key="k1")
    assert (refused.value.code, refused.value.message, len(stranger.keys)) == ("invalid_input", "No.", 1)


def test_read__is_tried_again_and_each_trouble_told(stranger: Stranger, service: Service) -> None:
    stranger.answers = [None, (502, {"content-type": "text/html"}, b"<html>"), good()]
    troubles: list[str] = []
    assert service.read("/v1/jobs/1", trouble=troubles.append) == {"id": "job_1"}
    assert ["does not answer" in troubles[0], "502" in troubles[1]] == [True, True]


def test_read__patience_ends(stranger: Stranger, service: Service) -> None:
    stranger.answers = [envelope(503, "database_unavailable", **{"retry-after": "60"})]
    with pytest.raises(Away):
        service.read("/v1/models", patience=1)
    assert len(stranger.keys) == 1


def test_read__another_program_at_the_address(stranger: Stranger, service: Service) -> None:
    stranger.answers = [(200, {"content-type": "text/html"}, b"<html>")]
    with pytest.raises(Refused, match="does not answer as Reelay does"):
        service.read("/v1/models")


def test_read__a_refused_key_is_a_setting(stranger: Stranger, service: Service) -> None:
    stranger.answers = [envelope(401, "invalid_api_key")]
    with pytest.raises(SettingsError, match="REELAY_KEY"):
        service.read("/v1/models")


def test_leave__ends_whoever_waits(stranger: Stranger, service: Service) -> None:
    stranger.answers = [None]
    with pytest.raises(Left):
        service.read("/v1/models", patience=600, trouble=lambda _: service.leave())


@pytest.mark.parametrize(
    "first",
    [film(VIDEO[:-1] + b"x"), film(VIDEO[:500_000], **{"content-length": str(len(VIDEO))}), None],
    ids=["another video", "cut off", "no answer"],
)
def test_save__fetches_again_until_the_checksum_fits(
    stranger: Stranger, service: Service, tmp_path: Path, first: Any
) -> None:
    stranger.answers = [first, film(VIDEO)]
    path = tmp_path / "x.mp4"
    assert save(service, JOB, path, force=False, seen=lambda _: None) == path
    assert path.read_bytes() == VIDEO
    assert [file.name for file in tmp_path.iterdir()] == ["x.mp4"]


def test_save__follows_into_the_storage_without_the_key(stranger: Stranger, service: Service, tmp_path: Path) -> None:
    with Stranger() as storage:
        serving = threading.Thread(target=lambda: storage.serve_forever(0.01))
        serving.start()
        stranger.answers = [(302, {"location": f"{storage.url}/videos/1.mp4?signature=x"}, b"")]
        storage.answers = [film(VIDEO)]
        save(service, JOB, tmp_path / "x.mp4", force=False, seen=lambda _: None)
        storage.shutdown()
        serving.join()
    assert (tmp_path / "x.mp4").read_bytes() == VIDEO
    assert (stranger.secrets, storage.secrets) == (["Bearer rly_test"], [None])


def test_save__leaves_nothing_of_a_video_that_is_never_right(
    stranger: Stranger, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cli.saving.TRIES", 2)
    (tmp_path / "x.mp4").write_text("mine")
    stranger.answers = [film(b"another")]
    with pytest.raises(Away, match="checksum"):
        save(service, JOB, tmp_path / "x.mp4", force=True, seen=lambda _: None)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["mine"]


def test_save__a_file_that_appeared_meanwhile_stays(stranger: Stranger, service: Service, tmp_path: Path) -> None:
    stranger.answers = [film(VIDEO)]
    path = tmp_path / "x.mp4"
    path.write_text("mine")
    with pytest.raises(NotSaved, match="exists"):
        save(service, JOB, path, force=False, seen=lambda _: None)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["mine"]


def test_worst__a_failure_outweighs_a_cancellation() -> None:
    assert worst([]) is Exit.OK
    assert worst([Exit.OK, Exit.CANCELED]) is Exit.CANCELED
    assert worst([Exit.CANCELED, Exit.AWAY]) is Exit.AWAY
    assert worst([Exit.AWAY, Exit.FAILED, Exit.OK]) is Exit.FAILED
    assert worst([Exit.FAILED, Exit.INTERRUPTED]) is Exit.INTERRUPTED
