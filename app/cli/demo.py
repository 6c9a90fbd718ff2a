"""reelay demo: one job through the whole house, from the sample image to an MP4 in the working folder."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from app.cli import development, pictures
from app.cli.child_sandbox import UPSTREAM_KEYS, without_upstream_keys
from app.cli.progress import board
from app.cli.saving import save
from app.cli.service import Service
from app.cli.watching import follow, why
from app.db import access
from app.db.engine import Database
from app.domain.errors import SettingsError
from app.domain.money import estimate, micros_to_usd, rule_from_json
from app.domain.secrets import DEFAULT_SCOPES
from app.settings import Settings

SAMPLE = Path(__file__).resolve().parents[1] / "web" / "sample.jpg"
PROMPT = "Golden hour on the lake: the sailboat drifts on, the water glitters, the camera slowly moves in."
MODEL = "veo2/image-to-video"
START_SECONDS = 60
UPSTREAM = (*UPSTREAM_KEYS, "REELAY_UPSTREAM_URL")
"""What --real takes over from the environment; everything else is the demo's own."""
FAILED = 1


def register(app: typer.Typer, *, panel: str) -> None:
    """Hang the command onto the root."""
    app.command("demo", rich_help_panel=panel)(demo_command)


def demo_command(
    *,
    real: Annotated[
        bool, typer.Option("--real", help="Use the real upstream. This costs money; you are asked.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="End after the video instead of serving on.")] = False,
    image: Annotated[Path, typer.Option(help="The image to set in motion.")] = SAMPLE,
    prompt: Annotated[str, typer.Option(help="What should happen.")] = PROMPT,
    out: Annotated[Path, typer.Option(help="Where the video goes.")] = Path("reelay-demo.mp4"),
) -> None:
    """Make one video: simulated and free, unless --real is given."""
    settings = Settings.load()
    if real and settings.upstream_api_key is None:
        raise SettingsError("--real needs the upstream's key: set REELAY_UPSTREAM_API_KEY.")
    folder = settings.data_dir / ("demo-real" if real else "demo")
    folder.mkdir(parents=True, exist_ok=True)
    with _server(folder, real=real) as base:
        key = _real_key(folder) if real else _development_key(folder)
        with closing(Service(base, key)) as client:
            if real:
                _agree(client)
            with board(Console(highlight=False)) as shown:
                job = follow(client, _create(client, image, prompt), shown.add(""))
            _deliver(client, job, out, real=real)
        if sys.stdin.isatty() and sys.stdout.isatty() and not once:
            typer.echo(f"Page:   {base}/\nKey:    {key}\nServing until Ctrl-C.")
            _wait_for_interrupt()


@contextmanager
def _server(folder: Path, *, real: bool) -> Iterator[str]:
    """Run `reelay serve` on SQLite in `folder` and yield its address; its log stays in the folder."""
    environment = dict(os.environ) if real else without_upstream_keys(os.environ)
    kept = {name: value for name, value in environment.items() if not name.startswith("REELAY_")}
    if real:
        kept |= {name: value for name, value in environment.items() if name.startswith(UPSTREAM)}
    kept |= {"REELAY_DATA_DIR": str(folder), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0", *([] if real else ["--sandbox"])]
    log = folder / "reelay.log"
    typer.echo(f"Starting Reelay ({'the real upstream' if real else 'sandbox: nothing is spent'}); its log: {log}")
    with log.open("w") as file:
        process = subprocess.Popen(
            command, env=kept, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield _address(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        lines = log.read_text("utf-8", "replace").splitlines()
        found = [line.split()[3] for line in lines if line.startswith("Reelay listens on ")]
        if found:
            return found[0]
        time.sleep(0.05)
    raise SettingsError(f"Reelay did not start. The end of {log}:\n{log.read_text('utf-8', 'replace')[-1500:]}")


def _development_key(folder: Path) -> str:
    return development.key_file(Settings.load(data_dir=folder)).read_text("utf-8").strip()


def _real_key(folder: Path) -> str:
    """Make a key for this one run; it ends by itself."""
    db = Database(Settings.load(data_dir=folder).sqlalchemy_url)
    try:
        with db.transaction() as conn:
            now = db.now(conn)
            known = [project for project in access.list_projects(conn) if project.name == "demo"]
            project = known[0] if known else access.create_project(conn, "demo", now=now)
            expires_at = now + timedelta(days=1)
            _, secret = access.create_key(
                conn, project_id=project.id, name="demo", scopes=DEFAULT_SCOPES, now=now, expires_at=expires_at
            )
            return secret
    finally:
        db.close()


def _agree(client: Service) -> None:
    """Show the price and ask; without a terminal REELAY_ACCEPT_COST_USD must cover it."""
    price = _price(client)
    shown = "an unknown price" if price is None else f"about {price:.2f} USD"
    if sys.stdin.isatty():
        if not typer.confirm(f"This buys one real 5 second video for {shown}. Go on?", default=False):
            raise typer.Exit(FAILED)
        return
    accepted = os.environ.get("REELAY_ACCEPT_COST_USD", "")
    if price is None or not _is_amount(accepted) or float(accepted) < price:
        raise SettingsError(
            f"One real video costs {shown}. Without a terminal, set REELAY_ACCEPT_COST_USD to what you accept."
        )


def _price(client: Service) -> float | None:
    """Return the price of the demo's job in dollars, once the service has read the price list."""
    for _ in range(40):
        pricing = client.read(f"/v1/models/{MODEL}")["pricing"]
        if pricing is not None:
            micros = estimate(rule_from_json(pricing), {"duration": 5}).micros
            return None if micros is None else micros_to_usd(micros)
        time.sleep(0.25)
    return None


def _is_amount(text: str) -> bool:
    try:
        return float(text) >= 0
    except ValueError:
        return False


def _create(client: Service, image: Path, prompt: str) -> dict[str, Any]:
    fields = {"model": MODEL, "prompt": prompt, "duration": "5", "aspect_ratio": "16:9"}
    form = [pictures.text(name, value) for name, value in fields.items()]
    form.append(pictures.attached("image", image))
    created: dict[str, Any] = client.create("/v1/jobs", form=form, idempotency_key=str(uuid.uuid4()))
    return created


def _deliver(client: Service, job: dict[str, Any], out: Path, *, real: bool) -> None:
    if job["status"] != "succeeded":
        raise SettingsError(f"The job {job['id']} {job['status']}: {why(job)}")
    save(client, job, out, force=True, seen=lambda _: None)
    video, cost = job["video"], job["cost"]["charged_usd"]
    typer.echo(
        f"Video:  {out.absolute()} ({video['width']}x{video['height']}, {video['duration_seconds']:g} s, "
        f"{video['size_bytes'] / 1e6:.1f} MB)"
    )
    typer.echo(f"Cost:   {cost:.2f} USD" + ("" if real else " on the real upstream; here nothing was spent"))


def _wait_for_interrupt() -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        typer.echo("")
