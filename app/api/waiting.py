"""Requests that wait: `Prefer: wait=N` (RFC 7240) and `?wait=N`, woken by the job's own changes."""

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress

from fastapi import Request

from app.api import showing
from app.api.callers import Caller
from app.api.deps import House, require_working
from app.db import jobs
from app.db.engine import Connection
from app.db.signals import job_topic
from app.domain.job import Job
from app.domain.states import ENDED_FOR_CALLERS
from app.domain.views import JobView

LONGEST_WAIT_SECONDS = 60
SAFETY_POLL_SECONDS = 3.0
"""How often a waiting request looks by itself. Wakes come at once; this is for those that a replica missed."""
_QUOTED = re.compile(r"(?<!wait=)\"[^\"]*\"")
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?([0-9]{1,9})\"?\s*(?=[,;]|$)", re.IGNORECASE)


def preferred_seconds(request: Request) -> int:
    """Return how long the caller prefers to wait, at most a minute; 0 if it did not say or cannot be understood."""
    found = _WAIT.search(_QUOTED.sub("", ", ".join(request.headers.getlist("prefer"))))
    return min(int(found[1]), LONGEST_WAIT_SECONDS) if found else 0


def applied(seconds: int) -> dict[str, str]:
    """Return the header that says which preference was honoured."""
    return {"Preference-Applied": f"wait={seconds}"} if seconds else {}


def ended(job: Job) -> bool:
    return job.state in ENDED_FOR_CALLERS


async def until(
    done: Callable[[Job], bool], *, job_id: str, house: House, caller: Caller, seconds: float
) -> tuple[Job, JobView]:
    """Return the caller's job, as it is and as shown, once `done` holds or the time is over.

    Raises NotFound, also when the job is deleted meanwhile, and AuthenticationFailed when the credential has
    ended.
    """

    def look(conn: Connection) -> tuple[Job, JobView]:
        if looked:
            require_working(conn, caller, now=house.db.now(conn))
        job = jobs.get(conn, job_id, owner=caller.owner)
        return job, showing.show(conn, job, house=house, caller=caller)

    looked = False  # the first look comes a moment after the key was checked at the door
    clock = asyncio.get_running_loop()
    deadline = clock.time() + seconds
    with house.db.signals.listen(job_topic(job_id)) as changed:
        while True:
            changed.clear()
            job, view = await house.db.read(look)
            looked = True
            if not changed.is_set():
                house.remembered.keep(job)
            left = deadline - clock.time()
            if done(job) or left <= 0 or house.closing.is_set():
                return job, view
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, SAFETY_POLL_SECONDS)):
                    await changed.wait()
