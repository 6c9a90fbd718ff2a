"""GET /v1/jobs/{id}/content: a video in a folder, beside nginx with the same file; and what many slow readers weigh.

Between the two: nginx in front of Reelay, which decides who may see it and lets nginx send it (X-Accel-Redirect).
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from app.db.engine import Database
from app.db.tables import jobs
from bench import databases, memory, nginx, read, servers
from bench.figures import Figure, Goal
from bench.plan import Plan
from bench.reader import Crowd, Reader
from tests.acceptance.processes import Process
from tests.tcp import free_port

MB = 10**6
SIZES = {"8 MB": 8 * MB, "64 MB": 64 * MB}
"""Five seconds of 720p, as a good encoder writes them, and what long or large ones come to."""
RANGE = "bytes=1000000-1999999"
READERS = 100
SIP_SECONDS = 0.05
PATIENCE_SECONDS = 10.0
SHARE = Goal(of="ratio", at="least", limit=0.6)
GROWTH = Goal(of="median", at="most", limit=10)
"""MiB: a tenth of one for each reader. It holds a connection and its request, and no MiB of a video."""
NGINX = "nginx"
NO_NGINX = "nginx is not installed: rates without a ratio. `apt-get install nginx` gives one."


@dataclass(frozen=True, slots=True)
class Side:
    """Who serves the videos, and how each is asked for."""

    base: str
    heads: dict[str, str]

    def request(self, video: str, *, part: bool) -> bytes:
        wanted = f"Range: {RANGE}\r\n" if part else ""
        return f"{self.heads[video]}{wanted}\r\n".encode()


def measure(plan: Plan) -> list[Figure]:
    """Read from all sides in turn, round after round; then let many read slowly from Reelay itself."""
    with ExitStack() as running:
        files = Path(running.enter_context(TemporaryDirectory(prefix="reelay-bench-")))
        for size, length in SIZES.items():
            (files / _key(size)).write_bytes(Random(1).randbytes(length))
        process, reelay = _service(running, files)
        sides = _with_nginx(running, files) | {"Reelay": reelay}
        found = [figure for size in SIZES for figure in _rates(sides, size, part=False, plan=plan)]
        found += _rates(sides, "8 MB", part=True, plan=plan)
        if memory.can_be_weighed():
            found.append(_growth(reelay, process.pid, plan=plan))
        return found


def _with_nginx(running: ExitStack, files: Path) -> dict[str, Side]:
    """Start nginx, which serves the files by itself, and for a second Reelay behind it."""
    if nginx.PROGRAM is None:
        print(NO_NGINX, flush=True)
        return {}
    _, behind = _service(running, files, settings={"REELAY_CONTENT_ACCEL": nginx.ACCEL})
    own = Path(running.enter_context(TemporaryDirectory(prefix="reelay-bench-")))
    base = running.enter_context(nginx.serving(files, own=own, behind=behind.base))
    plain = {size: _head(f"{nginx.FILES}{_key(size)}") for size in SIZES}
    return {NGINX: Side(base, plain), "Reelay behind nginx": Side(base, behind.heads)}


def _service(running: ExitStack, files: Path, *, settings: dict[str, str] | None = None) -> tuple[Process, Side]:
    """Start a Reelay with a finished job for each of the files."""
    url, folder = running.enter_context(databases.one_of_each(("SQLite",)))["SQLite"]
    key, made = read.fill(url, count=len(SIZES))
    database = Database(url)
    with database.transaction() as conn:
        for id_, (size, length) in zip(made, SIZES.items(), strict=True):
            video = read.VIDEO | {"key": _key(size), "size_bytes": length}
            conn.execute(jobs.update().where(jobs.c.id == id_).values(video=video))
    database.close()
    settings = {"REELAY_STORAGE_URL": str(files)} | (settings or {})
    process = servers.reelay_process(folder, port=(port := free_port()), database_url=url, settings=settings)
    running.callback(process.close)
    process.start()
    heads = {size: _head(f"/v1/jobs/{id_}/content", key=key) for size, id_ in zip(SIZES, made, strict=True)}
    return process, Side(f"http://127.0.0.1:{port}", heads)


def _rates(sides: dict[str, Side], video: str, *, part: bool, plan: Plan) -> list[Figure]:
    with ExitStack() as opened:
        reads: dict[str, Callable[[], float]] = {}
        for name, side in sides.items():
            reader = Reader(side.base, side.request(video, part=part))
            opened.callback(reader.close)
            reader.once()  # opens what is opened but once
            reads[name] = partial(reader.rate, seconds=plan.seconds)
        rates: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(plan.rounds):
            for name in sides if number % 2 == 0 else reversed(sides):
                rates[name].append(reads[name]() / MB)
    beside = rates.get(NGINX, [])
    what = "the 2nd MB of 8" if part else f"{video} whole"
    return [
        Figure(name=f"content, {what}, {name}", unit="MB/s", samples=samples)
        if name == NGINX or not beside
        else Figure(name=f"content, {what}, {name}", unit="MB/s", samples=samples, beside=beside, goal=SHARE)
        for name, samples in rates.items()
    ]


def _growth(side: Side, pid: int, *, plan: Plan) -> Figure:
    """Weigh the service before, and again and again while all of them read."""
    added, fewest = [], READERS
    for _ in range(plan.rounds):
        before = memory.of(pid).rss
        with Crowd(side.base, side.request("64 MB", part=False), count=READERS) as crowd:
            ends, most = time.monotonic() + plan.seconds, before
            while (now := time.monotonic()) < ends or (len(crowd.served) < READERS and now < ends + PATIENCE_SECONDS):
                time.sleep(SIP_SECONDS)
                crowd.sip()
                most = max(most, memory.of(pid).rss)
            fewest = min(fewest, len(crowd.served))
        added.append(most - before)
    short = "" if fewest == READERS else f"ERRORS: only {fewest} were served"
    # The first crowd also wakes what is made once and stays.
    name = f"memory that {READERS} slow readers of 64 MB add"
    return Figure(name=name, unit="MiB", samples=added, goal=GROWTH, note=short or f"first {added[0]:.1f} MiB")


def _key(size: str) -> str:
    return f"{size.replace(' ', '')}.mp4"


def _head(path: str, *, key: str | None = None) -> str:
    allowed = "" if key is None else f"Authorization: Bearer {key}\r\n"
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{allowed}"
