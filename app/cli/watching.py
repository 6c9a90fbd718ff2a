"""Follow a job to its end, whatever the service does meanwhile: a restart is no end."""

from typing import Any

from app.cli.progress import Row
from app.cli.service import LONG_PATIENCE_SECONDS, Service

FINAL = ("succeeded", "failed", "canceled")
LOOK_SECONDS = 1
"""How long the service holds a look back: a job's end is told at once, its progress every second."""
SHORTEST_PAUSE_SECONDS = 0.1


def follow(service: Service, job: dict[str, Any], row: Row) -> dict[str, Any]:
    """Show the job until it has ended and return its last view; raise Away if nobody answers for ten minutes."""
    row.show(job)
    while job["status"] not in FINAL:
        # A service that is stopping answers at once: it need not be asked a thousand times.
        service.pause(SHORTEST_PAUSE_SECONDS)
        job = service.read(
            f"/v1/jobs/{job['id']}", {"wait": str(LOOK_SECONDS)}, patience=LONG_PATIENCE_SECONDS, trouble=row.note
        )
        row.show(job)
    return job


def why(job: dict[str, Any]) -> str:
    """Return in a sentence why a job that has ended has no video."""
    if job["error"] is None:
        cost = job["cost"]
        open_cost = "" if cost["settled"] else " What was bought already will be charged."
        return f"It was canceled.{open_cost}"
    billed = " It was billed." if job["error"]["billed"] else ""
    return f"{job['error']['message']}{billed}"
