"""Every line that a worker logs about a job says which, also one that knows nothing of jobs."""

import structlog
from structlog.contextvars import get_contextvars, merge_contextvars
from structlog.testing import capture_logs

from app.workers.loop import Crew


async def test_crew__binds_what_its_work_is_about() -> None:
    async def break_down() -> None:
        structlog.get_logger().info("library_spoke")
        raise RuntimeError("broken")

    crew = Crew()
    with capture_logs(processors=[merge_contextvars]) as lines:
        for number in (1, 2):
            crew.start(break_down(), name="save", job_id=f"job_{number}")
        await crew.drain()
    assert [(line["event"], line["job_id"]) for line in lines] == [
        *(("library_spoke", "job_1"), ("work_failed", "job_1")),
        *(("library_spoke", "job_2"), ("work_failed", "job_2")),
    ]
    assert "job_id" not in get_contextvars()
