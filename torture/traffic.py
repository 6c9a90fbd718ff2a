"""Traffic: callers who create, cancel, retry and delete. None of them ever gives up."""

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2

from torture.answers import CUT_OFF, MARK, Ask
from torture.house import House

PICTURE = Path("app/web/sample.jpg")
MISHAPS = (
    "fail", "fail", "fail-string", "fail-null", "fail-detail", "hang-after=3", "hang-before=3*1", "reset-after",
    "reset-before*1", "truncate", "truncate=60", "500-bare-after", "502-bare*1", "503-bare*1", "504-bare-after",
    "500*1", "503-after", "429*1", "429=1*1", "403*1", "out-of-credits=1*1", "unknown-status", "waiting-words",
    "no-url=2", "truncated-video=1", *["mislabelled-video"] * 4, "video-404", "expired-url", "slow", "lag-404=2",
    "poll-500=2", "poll-reset", "poll-429",
)  # fmt: skip
"""What the sandbox is asked, in the prompt, to do to a job."""
PLAIN = 0.3
"""The share of jobs that nothing is to happen to."""
KEYED = 0.5
"""The share of requests for a job that carry an Idempotency-Key, and are sent until they are answered."""
FINISH_SECONDS = 300.0
STEERED = 0.4
"""The share of what is done, and of what is asked of the sandbox, that leads to points with open cells."""
DEEDS_AT = {
    "commit cancel_job": "_cancel",
    "commit retry_job": "_retry",
    "commit delete_job": "_scrub",
    "commit buried": "_scrub",
    "storage delete": "_scrub",
    "commit Sweeper._bury": "_scrub",
}
MISHAPS_AT = {
    "commit Saver._give_up": "mislabelled-video",
    "commit Saver._after_bad_result": "expired-url",
    "commit Prober": "403*1",
    "upstream balance": "403*1",
    "commit Reconciler._learn_group": "reset-after",
}
"""What leads to the points whose names begin so."""


def leading(to: Iterable[str], ways: Mapping[str, str]) -> list[str]:
    """Return the ways that lead to one of the points."""
    points = tuple(to)
    return [way for prefix, way in ways.items() if any(point.startswith(prefix) for point in points)]


def nowhere() -> Iterable[str]:
    return ()


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
        wanted: Callable[[], Iterable[str]] = nowhere,
        mishaps: Sequence[str] = MISHAPS,
    ) -> None:
        super().__init__(daemon=True, name=f"traffic of {house.name}")
        self._house, self._pause, self._wanted = house, pause_seconds, wanted
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
        self.asks: list[Ask] = []
        self.retries: dict[str, list[int]] = defaultdict(list)
        """What came back to each attempt to retry a job, by the job's id."""
        self.mishaps = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        deeds: list[Callable[[], None]] = [self._create] * 6 + [self._upload] * 2 + [self._again] * 2
        deeds += [self._cancel] * 2 + [self._retry] * 3 + [self._scrub] * 3 + [self._resume]
        while not self._ending.is_set():
            try:
                if not self._steered():
                    self._chance.choice(deeds if self._lively else [self._create] * 9 + [self._resume])()
            except httpx2.TransportError:
                time.sleep(0.02)
            self._ending.wait(self._pause)

    def _steered(self) -> bool:
        """Now and then do what leads to a point that is wanted; True if that was done."""
        deeds = leading(self._wanted(), DEEDS_AT) if self._chance.random() < STEERED else []
        if deeds:
            getattr(self, self._chance.choice(deeds))()
        return bool(deeds)

    def end(self) -> None:
        """Create no more."""
        self._ending.set()
        self.join(60)

    def finish(self) -> None:
        """Send what was asked with a key, and never answered, until it is."""
        deadline = time.monotonic() + FINISH_SECONDS
        while (unanswered := self._unanswered()) and time.monotonic() < deadline:
            try:
                self._send(unanswered[0])
            except httpx2.TransportError:
                time.sleep(0.1)

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
        wanted = leading(self._wanted(), MISHAPS_AT) if self._chance.random() < STEERED else []
        return f"Clip {self._made} [[fault:{self._chance.choice(wanted or self._mishaps)}]]"

    def _ask(self, **sent: Any) -> None:
        """Ask for a job, mostly with a key."""
        mark = f"ask-{self._made}"
        key = mark if self._chance.random() < KEYED else None
        self.asks.append(Ask(mark, sent, key))
        self._send(self.asks[-1])

    def _send(self, ask: Ask) -> None:
        headers = {} if ask.key is None else {"Idempotency-Key": ask.key}
        try:
            answer = self._post("/v1/jobs", headers=headers, **ask.sent)
        except httpx2.ConnectError:
            if not ask.statuses:  # nobody was there to be asked
                self.asks.remove(ask)
            raise
        except httpx2.TransportError:
            ask.statuses.append(CUT_OFF)
            raise
        ask.statuses.append(answer.status_code)
        if answer.status_code == 201:
            ask.first_was_replayed |= not ask.job_ids and "idempotent-replayed" in answer.headers
            ask.job_ids.add(answer.json()["id"])
        self._note(answer, expected={201} if ask.key is None else {201, 409})

    def _unanswered(self) -> list[Ask]:
        return [ask for ask in self.asks if ask.key is not None and not ask.job_ids]

    def _again(self) -> None:
        """Send once more what has a key: without an answer so far, or with one that must come again."""
        keyed = self._unanswered() or [ask for ask in self.asks[-50:] if ask.key is not None]
        keyed = [ask for ask in keyed if not ask.is_deleted]
        if keyed:
            self._send(self._chance.choice(keyed))

    def _create(self) -> None:
        order: dict[str, Any] = {"model": "veo2", "input": {"prompt": self._prompt()}}
        order["metadata"] = {MARK: f"ask-{self._made}"}
        if self._chance.random() < 0.2:
            order["on_unconfirmed"] = "resubmit"
        if self._chance.random() < 0.05:
            order["start_within_seconds"] = 2
        self._ask(json=order)

    def _upload(self) -> None:
        order = {"model": "veo2/image-to-video", "prompt": self._prompt()}
        order["metadata"] = f'{{"{MARK}": "ask-{self._made}"}}'
        self._ask(data=order, files={"image": PICTURE.read_bytes()})

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
        if job is None:
            return
        answers = self.retries[job["id"]]
        try:
            answer = self._post(f"/v1/jobs/{job['id']}/retry", json={"accept_new_charge": True})
        except httpx2.TransportError:
            answers.append(CUT_OFF)
            raise
        answers.append(answer.status_code)
        self._note(answer, expected={200, 409})

    def _scrub(self) -> None:
        """Delete a job whose request was answered: a deleted one carries no mark that could tell whose it was."""
        job = self._some(status=self._chance.choice(["succeeded", "failed", "canceled"]))
        if job is None or job["id"] not in self.accepted:
            return
        for ask in self.asks:
            ask.is_deleted |= job["id"] in ask.job_ids
        path = f"{self._base()}/v1/jobs/{job['id']}"
        self._note(self._http.delete(path), expected={204, 404, 409})

    def _resume(self) -> None:
        self.resume()
