"""reelay generate: images in, videos out."""

import uuid
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from app.cli import pictures, progress, report, service, terminal
from app.cli.batch import Batch, Work
from app.cli.exits import Exit, Refused, worst
from app.cli.finishing import finish
from app.cli.models import complete_model
from app.cli.pictures import Picture
from app.cli.progress import Row
from app.cli.service import Part, Service
from app.cli.targets import Target

Images = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="IMAGE",
        help="Paths (also of videos and sounds), links, data URIs, file ids: a video each.",
        show_default=False,
    ),
]
Prompt = Annotated[str | None, typer.Option("--prompt", "-p", help="What should happen.")]
ModelName = Annotated[
    str | None,
    typer.Option("--model", "-m", help="`reelay models` lists them.", autocompletion=complete_model),
]
Params = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="NAME=VALUE", help="A parameter of the model; NAME=@PATH sends a file."),
]
Notes = Annotated[
    list[str] | None, typer.Option("--metadata", metavar="NAME=VALUE", help="A note of your own, kept with the job.")
]
Cap = Annotated[
    float | None,
    typer.Option("--max-cost-usd", min=0.01, help="Refuse each video whose estimate is above this.", metavar="X"),
]
Out = Annotated[
    str | None,
    typer.Option("--output", "-o", help="A file, a folder/, or a name with {name}, {n} or {id}."),
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite files that exist.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and price everything; make and spend nothing.")]
Detach = Annotated[bool, typer.Option("--detach", "-d", help="Do not wait: print the jobs' ids.")]


def generate_command(
    images: Images = None,
    *,
    prompt: Prompt = None,
    model: ModelName = None,
    param: Params = None,
    metadata: Notes = None,
    max_cost_usd: Cap = None,
    output: Out = None,
    force: Force = False,
    dry_run: DryRun = False,
    detach: Detach = False,
    as_json: terminal.AsJson = False,
) -> None:
    """Make a video of each image, and download it.

    Without an image: one video, of the prompt alone.
    """
    fields = _fields(prompt, model=model, param=param or [], metadata=metadata or [], max_cost_usd=max_cost_usd)
    given: list[Picture | None] = [pictures.read(word) for word in images or []]
    wanted = given or [None]
    house = service.connect()
    if dry_run:
        raise typer.Exit(_price(house, wanted, fields, as_json=as_json))
    stems = [picture.stem if picture else None for picture in wanted]
    target = None if detach else Target(output, stems=stems, force=force)
    raise typer.Exit(_make(house, wanted, fields, target=target, as_json=as_json))


def _fields(
    prompt: str | None, *, model: str | None, param: list[str], metadata: list[str], max_cost_usd: float | None
) -> list[Part]:
    """Return the parts that every job of the command has."""
    plain = {"model": model, "prompt": prompt, "max_cost_usd": None if max_cost_usd is None else str(max_cost_usd)}
    parts = [pictures.text(name, value) for name, value in plain.items() if value is not None]
    for name, value in terminal.pairs(param, option="--param"):
        parts.append(pictures.attached(name, Path(value[1:])) if value[:1] == "@" else pictures.text(name, value))
    notes = terminal.pairs(metadata, option="--metadata")
    return parts + [pictures.text(f"metadata[{name}]", value) for name, value in notes]


def _form(fields: list[Part], picture: Picture | None) -> list[Part]:
    # A form needs a part, even where the service is to say that everything is missing.
    return [*fields, *([picture.part] if picture else [])] or [pictures.text("prompt", "")]


def _make(
    house: Service, wanted: list[Picture | None], fields: list[Part], *, target: Target | None, as_json: bool
) -> Exit:
    works = [Work(picture.label if picture else "", number) for number, picture in enumerate(wanted)]
    batch = Batch(house, progress.board(terminal.noise()), works, may_cancel=True)

    def step(work: Work, row: Row) -> None:
        if batch.closed.is_set():
            work.error, work.code = "It was not made.", Exit.CANCELED
            return
        row.note("sending")
        form = _form(fields, wanted[work.number])
        work.job = house.create("/v1/jobs", form=form, idempotency_key=str(uuid.uuid4()), trouble=row.note)
        if batch.closed.is_set():  # canceled while it was being made
            batch.cancel(work)
        if target is not None:
            finish(house, work, row, target=target)

    code = batch.run(step)
    report.tell(works, as_json=as_json)
    return code


def _price(house: Service, wanted: list[Picture | None], fields: list[Part], *, as_json: bool) -> Exit:
    """Show what each video would cost."""
    answers: list[dict[str, Any]] = []
    for picture in wanted:
        label = picture.label if picture else ""
        try:
            answers.append({"label": label, "error": None} | house.estimate(form=_form(fields, picture)))
        except Refused as error:
            refusal = {"code": error.code, "message": error.message, "param": error.param}
            answers.append({"label": label, "error": refusal, "valid": False, "cost": None})
    if as_json:
        terminal.show_json(answers)
    else:
        _show_prices(answers)
    return worst([Exit.OK if answer["valid"] else Exit.FAILED for answer in answers])


def _show_prices(answers: list[dict[str, Any]]) -> None:
    rows: list[list[str | Text]] = []
    for answer in answers:
        label = answer["label"] or "(no image)"
        if answer["error"]:
            terminal.say(
                Text.assemble(("✗ ", "red"), (f"{terminal.safe(label)}: ", "bold"), answer["error"]["message"])
            )
            continue
        wait = answer["eta_seconds"]
        priced = answer["cost"]["estimated_usd"] is not None
        refusal = "no: above the limit" if priced else "no: price not known"
        verdict = Text("yes", "green") if answer["valid"] else Text(refusal, "red")
        eta = "not known" if wait is None else f"about {wait} s"
        rows.append([label, terminal.usd(answer["cost"]["estimated_usd"]), eta, str(answer["queue_depth"]), verdict])
    if rows:
        terminal.show_table(["IMAGE", "ESTIMATE", "DONE IN", "BEFORE IT", "TAKEN"], rows, right=frozenset({1, 3}))
    known = [answer["cost"]["estimated_usd"] for answer in answers if answer["cost"]]
    total = None if None in known else sum(known)
    terminal.say(f"Dry run: {len(known)} of {len(answers)} videos, {terminal.usd(total)} together. Nothing was spent.")
