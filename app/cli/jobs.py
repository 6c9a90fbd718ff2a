"""reelay jobs: look at jobs, wait for them, change them, fetch their videos."""

import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from app.cli import progress, report, service, terminal
from app.cli.batch import Batch, Work
from app.cli.exits import Away, Exit, Refused, worst
from app.cli.finishing import finish
from app.cli.generate import Force, Out
from app.cli.models import complete_model
from app.cli.progress import Row
from app.cli.service import Service, job_path
from app.cli.targets import Target
from app.domain.states import PublicStatus

jobs = typer.Typer(help="Look at jobs, wait for them, fetch their videos.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="A job's id.")]
Ids = Annotated[list[str], typer.Argument(metavar="ID", help="Jobs' ids.")]
LARGEST_PAGE = 100


@jobs.command("list")
def list_command(
    *,
    status: Annotated[PublicStatus | None, typer.Option(help="Only jobs with this status.")] = None,
    model: Annotated[str | None, typer.Option(help="Only jobs of this model.", autocompletion=complete_model)] = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", metavar="NAME=VALUE", help="Only jobs with this note.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    as_json: terminal.AsJson = False,
) -> None:
    """List jobs, newest first."""
    notes = terminal.pairs(metadata or [], option="--metadata")
    narrowed = {f"metadata[{name}]": value for name, value in notes}
    narrowed |= {"status": status.value} if status else {}
    narrowed |= {"model": model} if model else {}
    found = _pages(service.connect(), narrowed, limit=limit)
    if as_json:
        terminal.show_json(found)
        return
    rows = [_row(job) for job in found]
    terminal.show_table(
        ["ID", "STATUS", "DONE", "MODEL", "CREATED", "COST"], rows, right=frozenset({2, 5}), spare=(3, 2)
    )


@jobs.command("show")
def show_command(job_id: Id, *, as_json: terminal.AsJson = False) -> None:
    """Show one job and its timeline."""
    house = service.connect()
    job = house.read(job_path(job_id))
    if as_json:
        terminal.show_json(job)
        return
    _show(job)
    rows: list[list[str | Text]] = [
        [event["created_at"], event["type"]] for event in house.read(f"{job_path(job_id)}/events")["data"]
    ]
    terminal.show_table(["TIME", "EVENT"], rows)


@jobs.command("watch")
def watch_command(
    job_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Jobs' ids; by default all unfinished ones.", show_default=False),
    ] = None,
    *,
    as_json: terminal.AsJson = False,
) -> None:
    """Follow jobs to their end. Ctrl-C stops watching, not the jobs."""
    house = service.connect()
    ids = job_ids or [job["id"] for job in _unfinished(house)]
    if not ids:
        terminal.say("No job is unfinished.")
    raise typer.Exit(_stay_with(house, ids, target=None, as_json=as_json))


@jobs.command("download")
def download_command(
    job_ids: Ids, *, output: Out = None, force: Force = False, as_json: terminal.AsJson = False
) -> None:
    """Fetch videos, waiting for those that are not finished.

    By default a video is called {id}.mp4; {name} is the job's id here.
    """
    house = service.connect()
    target = Target(output, stems=list(job_ids), force=force)
    raise typer.Exit(_stay_with(house, job_ids, target=target, as_json=as_json))


@jobs.command("cancel")
def cancel_command(job_ids: Ids, *, as_json: terminal.AsJson = False) -> None:
    """Cancel jobs. What was bought already is charged."""
    house = service.connect()
    works = [Work(job_id, number) for number, job_id in enumerate(job_ids)]
    for work in works:
        _attempt(house, work)
    if as_json:
        report.tell(works, as_json=True)
    else:
        for work in works:
            _tell_canceled(work)
    raise typer.Exit(worst([work.code for work in works]))


@jobs.command("retry")
def retry_command(
    job_id: Id,
    *,
    accept_new_charge: Annotated[
        bool, typer.Option("--accept-new-charge", help="Needed where the job was, or may have been, billed.")
    ] = False,
    as_json: terminal.AsJson = False,
) -> None:
    """Make a new job of a failed or canceled one's request, and print its id."""
    house = service.connect()
    try:
        job = house.change(f"{job_path(job_id)}/retry", {"accept_new_charge": True} if accept_new_charge else None)
    except Refused as error:
        if error.code != "new_charge_not_accepted":
            raise
        message = "This job was or may have been billed. To buy another generation, add --accept-new-charge."
        raise Refused(message, status=error.status, code=error.code) from None
    if as_json:
        terminal.show_json(job)
        return
    terminal.show(Text(job["id"]))
    terminal.say(f"Wait for its video with: reelay jobs download {job['id']}")


def _stay_with(house: Service, ids: list[str], *, target: Target | None, as_json: bool) -> Exit:
    works = [Work(job_id, number) for number, job_id in enumerate(ids)]
    batch = Batch(house, progress.board(terminal.noise()), works, may_cancel=False)

    def step(work: Work, row: Row) -> None:
        work.job = house.read(job_path(work.label))
        finish(house, work, row, target=target)

    code = batch.run(step)
    report.tell(works, as_json=as_json)
    return code


def _attempt(house: Service, work: Work) -> None:
    try:
        work.job = house.change(f"{job_path(work.label)}/cancel")
    except Refused as error:
        work.error, work.error_code, work.code = error.message, error.code, Exit.FAILED
    except Away as error:
        work.error, work.code = str(error), Exit.AWAY


def _tell_canceled(work: Work) -> None:
    if work.job is None:
        report.tell([work], as_json=False)
        return
    ended = work.job["status"] == "canceled"
    words = "canceled" if ended else "will be canceled as soon as its submission is answered"
    terminal.show(Text.assemble(("✓ ", "green"), f"{work.label} {words}."))


def _unfinished(house: Service) -> list[dict[str, Any]]:
    return [
        job for status in ("queued", "in_progress") for job in _pages(house, {"status": status}, limit=LARGEST_PAGE)
    ]


def _pages(house: Service, narrowed: dict[str, str], *, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while len(found) < limit:
        wanted = str(min(LARGEST_PAGE, limit - len(found)))
        page = house.read("/v1/jobs", narrowed | after | {"limit": wanted})
        found += page["data"]
        if not page["has_more"]:
            break
        after = {"after": page["last_id"]}
    return found


def _row(job: dict[str, Any]) -> list[str | Text]:
    cost = job["cost"]
    paid = cost["charged_usd"] if cost["charged_usd"] is not None else cost["estimated_usd"]
    shown = terminal.usd(paid) if cost["charged_usd"] is not None or paid is None else f"~{terminal.usd(paid)}"
    return [job["id"], terminal.status(job["status"]), f"{job['progress']} %", job["model"], _age(job), shown]


def _age(job: dict[str, Any]) -> str:
    """Return the age for people, the moment for programs."""
    if not sys.stdout.isatty():
        return str(job["created_at"])
    created = datetime.fromisoformat(job["created_at"])
    seconds = int((datetime.now(UTC) - created).total_seconds())
    for span, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= span:
            return f"{seconds // span} {name} ago"
    return f"{max(seconds, 0)} s ago"


def _show(job: dict[str, Any]) -> None:
    shown: dict[str, str | Text] = {"id": job["id"], "status": terminal.status(job["status"])}
    shown |= {"state": job["state"], "model": job["model"], "progress": f"{job['progress']} %  {progress.about(job)}"}
    shown |= {f"input.{name}": str(value) for name, value in job["input"].items()}
    shown |= {f"metadata.{name}": value for name, value in job["metadata"].items()}
    shown |= {"created": job["created_at"], "finished": job["finished_at"] or "-"}
    cost = job["cost"]
    shown |= {"cost": f"{terminal.usd(cost['charged_usd'])} charged, {terminal.usd(cost['estimated_usd'])} estimated"}
    if job["video"]:
        shown |= {"video": report.facts(job), "sha256": job["video"]["sha256"]}
    if job["error"]:
        shown |= {"error": f"{job['error']['code']}: {job['error']['message']}"}
    width = max(map(len, shown))
    for name, value in shown.items():
        text = value if isinstance(value, Text) else Text(terminal.safe(value).rstrip())
        terminal.show(Text.assemble((f"{name:<{width}}  ", "dim"), text))
