"""Not one byte left for the videos and, on SQLite, for the database: said clearly, nothing lost, nothing half done."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from tests.acceptance.processes import Deployment, ledger, sandbox
from tests.acceptance.small_disk import SmallDisk, small_disk
from tests.factories import picture

FULL_SECONDS = 3.5
"""Longer than the upstream keeps the answer to a paid request back, and than a lease."""
SLOW = "[[fault:hang-after=2]] Slow"


def test_full_disk__holds_everything_until_there_is_room(folder: Path, database_url: str | None) -> None:
    with small_disk(folder) as disk, sandbox(folder, "--speed", "40") as upstream:
        house = Deployment(
            folder,
            upstream_url=upstream,
            database_url=database_url,
            prefix=disk.prefix,
            data_dir=str(disk.path / "data"),
            lease_seconds="2",
        )
        try:
            if database_url is not None:
                house.run("migrate")
            key = house.new_key()
            process, base = house.serve()
            with httpx2.Client(base_url=base, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
                _Scene(client, disk, upstream, on_sqlite=database_url is None).play(process.said)
            assert process.stop() < 10
        finally:
            house.close()


class _Scene:
    def __init__(self, client: httpx2.Client, disk: SmallDisk, upstream: str, *, on_sqlite: bool) -> None:
        self.client, self.disk, self.upstream, self.on_sqlite = client, disk, upstream, on_sqlite
        self.accepted: set[str] = set()

    def play(self, said: Callable[[], str]) -> None:
        for n in range(3):
            assert self._create(f"Clip {n}").status_code == 201
        assert self._upload("Upload").status_code == 201
        assert self._create(SLOW).status_code == 201
        self._wait_until_bought(5)
        self.disk.fill()
        self._refused_while_full()
        said_while_full = said()
        self.disk.free()
        assert ("answer_not_recorded_yet" in said_while_full) == self.on_sqlite
        assert self._create("After").status_code == 201
        assert self._upload("After").status_code == 201
        self._judge()

    def _refused_while_full(self) -> None:
        end = time.monotonic() + FULL_SECONDS
        statuses = set()
        while time.monotonic() < end:
            answers = [self._create("Full"), self._upload("Full")]
            statuses.add(tuple(answer.status_code for answer in answers))
            for answer in answers:
                if answer.status_code != 201:
                    _require_clear(answer)
            self._require_whole_videos()
            time.sleep(0.2)
        assert (503, 503) in statuses if self.on_sqlite else statuses == {(201, 503)}
        ready = self.client.get("/readyz")
        assert (ready.status_code, ready.json()["reasons"]) == (503, ["storage_unavailable"])
        held = [job for job in self._jobs() if job["state"] in ("saving", "generating", "submitting", "queued")]
        assert held

    def _judge(self) -> None:
        jobs = self._ended()
        assert {job["id"] for job in jobs} == self.accepted
        assert {(job["status"], job["attempts"] >= 1) for job in jobs} == {("succeeded", True)}, jobs
        bought_for = [row["client_request_id"].split(":")[2] for row in ledger(self.upstream)["purchases"]]
        assert sorted(bought_for) == sorted(self.accepted)
        assert self._require_whole_videos() == len(jobs)
        media = self.disk.seen / "data" / "media"
        assert list((media / ".partial").iterdir()) == []
        inputs = [job["input"]["image_url"] for job in jobs if "image_url" in job["input"]]
        assert sorted(path.stem for path in (media / "inputs").iterdir()) == sorted(inputs)
        assert len(list((media / "videos").glob("*.mp4"))) == len(jobs)

    def _ended(self) -> list[dict[str, Any]]:
        """Wait until all have, also the one whose answer waited in memory, and was unconfirmed for as long."""
        deadline = time.monotonic() + 60
        while None in [job["finished_at"] for job in self._jobs()]:
            assert time.monotonic() < deadline, self._jobs()
            time.sleep(0.25)
        return self._jobs()

    def _create(self, prompt: str) -> httpx2.Response:
        return self._noted(self.client.post("/v1/jobs", json={"model": "veo2", "input": {"prompt": prompt}}))

    def _upload(self, prompt: str) -> httpx2.Response:
        files = {"image": ("cat.jpg", picture(size=(640, 360)), "image/jpeg")}
        return self._noted(self.client.post("/v1/jobs", data={"prompt": prompt}, files=files))

    def _noted(self, answer: httpx2.Response) -> httpx2.Response:
        if answer.status_code == 201:
            self.accepted.add(answer.json()["id"])
        return answer

    def _wait_until_bought(self, count: int) -> None:
        deadline = time.monotonic() + 20
        while len(ledger(self.upstream)["purchases"]) < count:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def _jobs(self) -> list[dict[str, Any]]:
        page = self.client.get("/v1/jobs", params={"limit": "100"}).raise_for_status().json()
        assert not page["has_more"]
        listed: list[dict[str, Any]] = page["data"]
        return listed

    def _require_whole_videos(self) -> int:
        """Look at every video that is shown: each is what it says; return how many there are."""
        shown = [job for job in self._jobs() if job["video"] is not None]
        for job in shown:
            content = self.client.get(f"/v1/jobs/{job['id']}/content").raise_for_status().content
            video = job["video"]
            assert (len(content), hashlib.sha256(content).hexdigest()) == (video["size_bytes"], video["sha256"])
        return len(shown)


def _require_clear(answer: httpx2.Response) -> None:
    assert answer.status_code == 503, answer.text
    error = answer.json()["error"]
    assert error["type"] == "server_error"
    assert error["code"] in ("database_unavailable", "storage_unavailable")
    assert "full" in error["message"] and "Try again shortly." in error["message"], error
    assert int(answer.headers["retry-after"]) > 0
