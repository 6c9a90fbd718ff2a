"""Watch a job: a bar on a terminal, a line a change without one."""

import time
from typing import Any

import httpx2
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

FINAL = ("succeeded", "failed", "canceled")
LOOK_SECONDS = 0.25
STEP_PERCENT = 20


def watch(client: httpx2.Client, job: dict[str, Any]) -> dict[str, Any]:
    """Follow the job to its end and return its last view."""
    console = Console(highlight=False)
    if not console.is_terminal:
        return _watch_in_lines(client, job, console)
    columns = (
        TextColumn("[bold]{task.description:<11}"),
        BarColumn(bar_width=40),
        TaskProgressColumn(),
        TextColumn("{task.fields[eta]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(job["state"], total=100, eta="")
        while True:
            _show(progress, task, job)
            if job["status"] in FINAL:
                return job
            job = _look(client, job)


def _show(progress: Progress, task: TaskID, job: dict[str, Any]) -> None:
    progress.update(task, description=job["state"], completed=job["progress"], eta=_eta(job))


def _watch_in_lines(client: httpx2.Client, job: dict[str, Any], console: Console) -> dict[str, Any]:
    shown: tuple[str, int] | None = None
    while True:
        seen = (job["state"], job["progress"] // STEP_PERCENT)
        if seen != shown:
            console.print(f"{job['state']:<11} {job['progress']:>3} %  {_eta(job)}".rstrip())
            shown = seen
        if job["status"] in FINAL:
            return job
        job = _look(client, job)


def _look(client: httpx2.Client, job: dict[str, Any]) -> dict[str, Any]:
    time.sleep(LOOK_SECONDS)
    seen: dict[str, Any] = client.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
    return seen


def _eta(job: dict[str, Any]) -> str:
    if job["overdue"]:
        return "overdue"
    return "" if job["eta_seconds"] is None else f"about {job['eta_seconds']} s left"
