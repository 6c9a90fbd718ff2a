"""The service's own constants, made small, so that what takes minutes in life takes a second under torture.

Only waits are shortened; no rule is changed.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

from app import back_room
from app.db import audit_turn, claims, log_reader
from app.domain import retry
from app.workers import audit, loop, probe, reconcile, save, submit
from app.workers.audit import Auditor
from app.workers.sweep import Sweeper

SWEEP_SECONDS = 0.5
AUDIT_SECONDS = 0.7
LONGEST_PAUSE_SECONDS = 0.5
_backoff = retry.backoff


def _hurried(attempt: int, **given: float) -> float:
    return min(LONGEST_PAUSE_SECONDS, _backoff(attempt, **given) / 10)


def probe_once() -> None:
    """Look into the first video only, and take every other for the same."""
    known: list[Any] = []
    look = vars(save)["inspect"]

    async def inspect(path: Path) -> Any:
        if not known:
            known.append(await look(path))
        return known[0]

    vars(save)["inspect"] = inspect


def install(*, sets_of_workers: int = 1, loops: bool = True) -> None:
    """Shorten the waits in this process, those of the duties' loops only if `loops`; run so many sets of workers."""
    log_reader.READS_PER_MINUTE = 100_000
    log_reader.READ_LEASE = timedelta(seconds=1)
    log_reader.SLACK = timedelta(seconds=30)
    log_reader.AUDIT_INTERVAL = timedelta(seconds=3)
    audit_turn.LEASE = timedelta(seconds=1)
    claims.TRIAL_PAUSE = timedelta(seconds=4)
    probe.PROBE_PAUSE = timedelta(seconds=2)
    retry.HOLD_SECONDS = 0.5
    retry.LONGEST_OUTAGE_PAUSE_SECONDS = 1.0
    for module in (retry, probe, save, submit):
        module.backoff = _hurried  # type: ignore[attr-defined]
    if loops:
        loop.LONGEST_PAUSE_SECONDS = 1.0
        audit.EVERY = timedelta(seconds=AUDIT_SECONDS)
    reconcile.PACE_PAUSE_SECONDS = 0.2
    reconcile.GAPS = 10
    make = back_room.duties

    def duties(*args: Any, **given: Any) -> list[Any]:
        made = [duty for _ in range(sets_of_workers) for duty in make(*args, **given)]
        for duty in made:
            if loops and isinstance(duty, Sweeper):
                duty.interval_seconds = SWEEP_SECONDS
            if loops and isinstance(duty, Auditor):
                duty.interval_seconds = AUDIT_SECONDS
        return made

    back_room.duties = duties
