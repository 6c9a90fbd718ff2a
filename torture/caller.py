"""A caller of one house: makes jobs, waits for them, and holds workers still."""

import signal
import time
from typing import Any

import httpx2
import sqlalchemy as sa

from app.db import tables
from torture.house import House, Victim

ENDED = ("succeeded", "failed", "canceled")
LOOK_SECONDS = 0.1


class Caller:
    """Speaks with one victim's API. `accepted` holds every id that was answered with 201."""

    def __init__(self, house: House, api: Victim) -> None:
        self._house, self._api = house, api
        self.http = httpx2.Client(
            base_url=api.base,
            headers={"Authorization": f"Bearer {house.key}"},
            timeout=30,
            limits=httpx2.Limits(max_keepalive_connections=0),
        )
        self.accepted: set[str] = set()

    def create(self, prompt: str, **order: Any) -> str:
        """Make a job, however often that must be asked for while nobody serves; return its id."""
        deadline = time.monotonic() + 30
        while True:
            try:
                answer = self.http.post("/v1/jobs", json={"model": "veo2", "input": {"prompt": prompt}, **order})
            except httpx2.TransportError:
                answer = None
            if answer is not None and answer.status_code == 201:
                id_ = str(answer.json()["id"])
                self.accepted.add(id_)
                return id_
            if time.monotonic() > deadline:
                raise RuntimeError(f"no job could be made: {answer and answer.text}")
            time.sleep(LOOK_SECONDS)

    def resume(self) -> None:
        """End the holds, as an operator may."""
        self.http.post("/v1/admin/upstream/resume")

    def rows(self, query: sa.Executable) -> list[sa.Row[Any]]:
        """Ask the database itself."""
        engine = sa.create_engine(self._house.url)
        try:
            with engine.connect() as conn:
                return list(conn.execute(query))
        finally:
            engine.dispose()

    def states(self, ids: set[str] | None = None) -> dict[str, str]:
        query = sa.select(tables.jobs.c.id, tables.jobs.c.state)
        return {row.id: row.state for row in self.rows(query) if ids is None or row.id in ids}

    def wait(self, ids: set[str], *states: str, seconds: float = 30.0) -> bool:
        """Wait until all of these jobs are in one of the states; False if the time is over before."""
        deadline = time.monotonic() + seconds
        while not all(state in states for state in self.states(ids).values()):
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_SECONDS)
        return True

    def halt(self, *victims: Victim) -> None:
        """Stop them (SIGSTOP) at a moment when none has a transaction open, which would make the others wait too."""
        while True:
            for victim in victims:
                victim.signal(signal.SIGSTOP)
            if not self.rows(_OPEN):
                return
            for victim in victims:
                victim.signal(signal.SIGCONT)
            time.sleep(0.01)


_OPEN = sa.text(
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
)
