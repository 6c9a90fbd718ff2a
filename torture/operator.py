"""An operator who ends holds and decides about jobs in doubt: truthfully, or with a claim that must be refused."""

import random
import threading
from contextlib import suppress
from typing import Any

import httpx2

from torture.house import House
from torture.judge import sold

NOBODYS = "00000000-0000-4000-8000-000000000000"


class Operator(threading.Thread):
    """Looks after a house through its API, whichever victim lives."""

    def __init__(self, house: House, upstream_url: str, *, seed: int, pause_seconds: float = 0.2) -> None:
        super().__init__(daemon=True, name=f"operator of {house.name}")
        self._house, self._upstream_url, self._pause = house, upstream_url, pause_seconds
        self._chance = random.Random(seed)
        self._http = httpx2.Client(
            headers={"Authorization": f"Bearer {house.key}"},
            timeout=3,
            limits=httpx2.Limits(max_keepalive_connections=0),
        )
        self._ending = threading.Event()
        self.wrong: list[str] = []

    def run(self) -> None:
        while not self._ending.is_set():
            with suppress(httpx2.TransportError):
                self._chance.choice([self._resume, self._resolve, self._attach, self._attach])()
            self._ending.wait(self._pause)

    def end(self) -> None:
        self._ending.set()
        self.join(60)

    def _address(self, path: str) -> str:
        victims = [victim for victim in self._house.victims if victim.port is not None]
        return self._chance.choice(victims).base + path

    def _post(self, path: str, body: dict[str, Any] | None = None, *, expected: set[int]) -> None:
        answer = self._http.post(self._address(path), json=body)
        if answer.status_code not in expected | {500, 503}:
            self.wrong.append(f"POST {path}: {answer.status_code} {answer.text[:300]}")

    def _resume(self) -> None:
        self._post("/v1/admin/upstream/resume", expected={200})

    def _jobs(self, **narrowed: str) -> list[dict[str, Any]]:
        answer = self._http.get(self._address("/v1/admin/jobs"), params={"limit": "5", **narrowed})
        found: list[dict[str, Any]] = answer.json()["data"] if answer.status_code == 200 else []
        return found

    def _bought(self, job: dict[str, Any]) -> str | None:
        """Return the generation that the job's last submission bought: the sandbox's ledger knows."""
        request_id = f"rly:{self._house.deployment_id}:{job['id']}:{job['attempts']}"
        of_job = [p for p in sold(self._upstream_url, request_id) if p["client_request_id"] == request_id]
        return next((str(p["generation_id"]) for p in of_job if p["cost_credits"]), None)

    def _decide(self, job: dict[str, Any], **wish: str) -> None:
        self._post(f"/v1/admin/jobs/{job['id']}/resolve", dict(wish), expected={200, 202, 404, 409})

    def _resolve(self) -> None:
        """Decide about a job that the log was searched for in vain."""
        for job in self._jobs(unresolved="true"):
            bought = self._bought(job)
            if bought is None:
                self._decide(job, action="not_created")
            else:
                self._decide(job, action="attach", generation_id=bought)

    def _attach(self) -> None:
        """Be faster than the log: name the generation of a job in doubt, or one that does not exist."""
        for job in self._jobs(state="unconfirmed")[:1]:
            claimed = self._bought(job) if self._chance.random() < 0.6 else None
            self._decide(job, action="attach", generation_id=claimed or NOBODYS)
