"""Traffic: callers who create, cancel, retry and delete, and an operator who resolves. None of them ever gives up."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx2

from torture.house import House
from torture.judge import sold

PICTURE = "app/web/sample.jpg"
MISHAPS = (
    "fail", "fail", "fail-string", "fail-null", "fail-detail", "hang-after=3", "hang-before=3*1", "reset-after",
    "reset-before*1", "truncate", "truncate=60", "500-bare-after", "502-bare*1", "503-bare*1", "504-bare-after",
    "500*1", "503-after", "429*1", "429=1*1", "403*1", "out-of-credits=1*1", "unknown-status", "waiting-words",
    "no-url=2", "truncated-video=1", "mislabelled-video", "expired-url", "slow", "lag-404=2",
    "poll-500=2", "poll-reset", "poll-429",
)  # fmt: skip
"""What the sandbox is asked, in the prompt, to do to a job."""
PLAIN = 0.3
"""The share of jobs that nothing is to happen to."""


class Traffic(threading.Thread):
    """Speaks with a house's victims, whichever lives; remembers every id that was answered with 201."""

    def __init__(
        self,
        house: House,
        upstream_url: str,
        *,
        seed: int,
        pause_seconds: float = 0.1,
        lively: bool = True,
        mishaps: Sequence[str] = MISHAPS,
    ) -> None:
        super().__init__(daemon=True, name=f"traffic of {house.name}")
        self._house, self._upstream_url, self._pause = house, upstream_url, pause_seconds
        self._chance = random.Random(seed)
        self._http = httpx2.Client(
            headers={"Authorization": f"Bearer {house.key}"},
            timeout=5,
            limits=httpx2.Limits(max_keepalive_connections=0),
        )
        self._ending = threading.Event()
        self._lively, self._mishaps = lively, mishaps
        self._made = 0
        self.accepted: set[str] = set()
        self.mishaps = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        deeds: list[Callable[[], None]] = [self._create] * 14 + [self._cancel, self._retry, self._scrub, self._resume]
        deeds += [self._upload, self._resolve, self._resume]
        while not self._ending.is_set():
            try:
                self._chance.choice(deeds if self._lively else [self._create] * 9 + [self._resume])()
            except httpx2.TransportError:
                time.sleep(0.02)
            self._ending.wait(self._pause)

    def end(self) -> None:
        """Create no more."""
        self._ending.set()
        self.join(60)

    def resume(self) -> bool:
        """End the holds, as an operator may; True if that was heard."""
        try:
            return self._post("/v1/admin/upstream/resume").status_code == 200
        except httpx2.TransportError:
            return False

    def _base(self) -> str:
        serving = [victim.base for victim in self._house.victims if victim.port is not None]
        return self._chance.choice(serving)

    def _post(self, path: str, **body: Any) -> httpx2.Response:
        return self._http.post(self._base() + path, **body)

    def _note(self, answer: httpx2.Response, *, expected: set[int]) -> None:
        # A 5xx is honest as long as nothing was made; what was answered with 201 must never be lost.
        if answer.status_code == 201:
            self.accepted.add(answer.json()["id"])
        elif answer.status_code not in expected | {500, 503}:
            self.wrong.append(
                f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text[:300]}"
            )

    def _prompt(self) -> str:
        self._made += 1
        if self._chance.random() < PLAIN:
            return f"Clip {self._made}"
        self.mishaps += 1
        return f"Clip {self._made} [[fault:{self._chance.choice(self._mishaps)}]]"

    def _create(self) -> None:
        order: dict[str, Any] = {"model": "veo2", "input": {"prompt": self._prompt()}}
        if self._chance.random() < 0.2:
            order["on_unconfirmed"] = "resubmit"
        if self._chance.random() < 0.05:
            order["start_within_seconds"] = 2
        self._note(self._post("/v1/jobs", json=order), expected={201})

    def _upload(self) -> None:
        with open(PICTURE, "rb") as picture:  # noqa: PTH123
            order = {"model": "veo2/image-to-video", "prompt": self._prompt()}
            self._note(self._post("/v1/jobs", data=order, files={"image": picture}), expected={201})

    def _some(self, **narrowed: str) -> dict[str, Any] | None:
        answer = self._http.get(f"{self._base()}/v1/jobs", params={"limit": "20", **narrowed})
        found = answer.json()["data"] if answer.status_code == 200 else []
        return self._chance.choice(found) if found else None

    def _cancel(self) -> None:
        job = self._some(status=self._chance.choice(["queued", "in_progress"]))
        if job is not None:
            self._note(self._post(f"/v1/jobs/{job['id']}/cancel"), expected={200, 202, 409})

    def _retry(self) -> None:
        job = self._some(status="failed")
        if job is not None:
            self._note(self._post(f"/v1/jobs/{job['id']}/retry", json={"accept_new_charge": True}), expected={200, 409})

    def _scrub(self) -> None:
        job = self._some(status="succeeded")
        if job is not None:
            path = f"{self._base()}/v1/jobs/{job['id']}"
            self._note(self._http.delete(path), expected={204, 404, 409})

    def _resume(self) -> None:
        self.resume()

    def _resolve(self) -> None:
        """Decide truthfully about a job that the log was searched for in vain: the sandbox's ledger knows."""
        answer = self._http.get(f"{self._base()}/v1/admin/jobs", params={"unresolved": "true", "limit": "5"})
        for job in answer.json()["data"] if answer.status_code == 200 else []:
            request_id = f"rly:{self._house.deployment_id}:{job['id']}:{job['attempts']}"
            bought = [
                p
                for p in sold(self._upstream_url, request_id)
                if p["client_request_id"] == request_id and p["cost_credits"]
            ]
            wish = (
                {"action": "attach", "generation_id": bought[0]["generation_id"]}
                if bought
                else {"action": "not_created"}
            )
            self._note(self._post(f"/v1/admin/jobs/{job['id']}/resolve", json=wish), expected={200, 202, 404, 409})
