"""The processes under load: Reelay as it is shipped, and the floor."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.processes import Process
from tests.tcp import free_port

# One generation at a time that lasts for hours, asked after once a minute: the workers run and have nothing to do.
QUIET = {"REELAY_UPSTREAM_MAX_IN_FLIGHT": "1", "REELAY_POLL_INTERVAL_SECONDS": "60"}
SLOW = ("--sandbox-speed", "0.001")
SIGNING_SECRET = "0123456789abcdef" * 4
ANEW = ("env",)
"""Begun by another program, they load everything themselves, as in earnest; those of the tests are forked."""


def reelay_process(
    folder: Path, *, port: int, database_url: str | None = None, settings: Mapping[str, str] | None = None
) -> Process:
    """Return `reelay serve --sandbox`, not yet started, with its data in `folder`."""
    environment = QUIET | {"REELAY_DATA_DIR": str(folder), "REELAY_SIGNING_SECRET": SIGNING_SECRET, **(settings or {})}
    if database_url is not None:
        environment["REELAY_DATABASE_URL"] = database_url
    command = ["app.cli", "serve", "--sandbox", *SLOW, "--port", str(port)]
    return Process(command, log=folder / "log", ready="Reelay listens on", environment=environment, prefix=ANEW)


def floor_process(folder: Path, *, port: int, payload: bytes) -> Process:
    """Return the floor, not yet started."""
    (folder / "payload").write_bytes(payload)
    command = ["bench.floor", "--port", str(port), "--payload", str(folder / "payload")]
    return Process(command, log=folder / "floor.log", ready="Uvicorn running on", environment={}, prefix=ANEW)


@contextmanager
def reelay(folder: Path, *, database_url: str) -> Iterator[str]:
    """Run Reelay on a database and yield its address."""
    port = free_port()
    with _running(reelay_process(folder, port=port, database_url=database_url)):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def floor(folder: Path, *, payload: bytes) -> Iterator[str]:
    """Run the floor and yield its address."""
    port = free_port()
    with _running(floor_process(folder, port=port, payload=payload)):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def upstream(folder: Path) -> Iterator[str]:
    """Run the upstream that goes by the clock, and yield its address."""
    port = free_port()
    command = ["bench.upstream", "--port", str(port)]
    with _running(Process(command, log=folder / "upstream.log", ready="upstream listens", environment={})):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _running(process: Process) -> Iterator[None]:
    try:
        process.start()
        yield
    finally:
        process.close()
