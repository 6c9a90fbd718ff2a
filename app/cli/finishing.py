"""From a job that was made to a video on disk: the step that `generate`, `jobs watch` and `jobs download` share."""

from app.cli.batch import Work
from app.cli.exits import Exit
from app.cli.progress import Row
from app.cli.saving import save
from app.cli.service import Service
from app.cli.targets import Target
from app.cli.watching import follow, why


def finish(service: Service, work: Work, row: Row, *, target: Target | None) -> None:
    """Follow the work's job to its end and, where there is a target, save its video."""
    assert work.job is not None
    job = work.job = follow(service, work.job, row)
    if job["status"] != "succeeded":
        work.error = why(job)
        work.error_code = job["error"]["code"] if job["error"] else job["status"]
        work.code = Exit.CANCELED if job["status"] == "canceled" else Exit.FAILED
        return
    if target is not None:
        size = job["video"]["size_bytes"]
        row.loading(0, size)
        path = target.path(work.number, job_id=job["id"])
        work.file = save(service, job, path, force=target.force, seen=lambda done: row.loading(done, size))
