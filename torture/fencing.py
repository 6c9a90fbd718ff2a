"""Fencing: a worker is stopped (SIGSTOP) past its lease, another takes over, and the first is let go on.

It must post nothing unless it had already committed that it would. Of an answer that it paid for it keeps the record,
and moves the job only as anybody would who reads that record.
"""

import random
import signal
import time
from functools import partial
from pathlib import Path

from app.db.engine import IDLE_MILLISECONDS
from tests.postgres import Databases
from torture.caller import Caller
from torture.house import LEASE_SECONDS, House, Victim, sandbox
from torture.judge import judge
from torture.lanes import run_side_by_side
from torture.points import Fault, Plan
from torture.table import Part

BEFORE_THE_MARK = (
    "commit Submitter._admit before",
    "commit Submitter._admit after",
    "storage put_bytes before",
    "storage put_bytes after",
    "commit Submitter._send before",
)
MARKED = ("commit Submitter._send after", "upstream submit before")
"""Stopped here it may still post: that it would is committed, and the job is unconfirmed for everybody else."""
ANSWERED = (
    "upstream submit after",
    "commit Submitter._keep before",
    "commit Submitter._keep after",
    "commit Submitter._submit before",
    "commit Submitter._submit after",
)
SAVING = ("commit Saver.run_once after", "download after", "storage put_file after", "commit Saver._copy before")
LOCKING = ("commit Submitter._admit inside", "commit Submitter._send inside", "commit Submitter._submit inside")
"""Stopped here it has rows locked, in the first and the last case the gate: nobody else can admit a job."""
NOT_TO_POST = (*BEFORE_THE_MARK[1:], *LOCKING[:2])
POINTS = (*BEFORE_THE_MARK, *MARKED, *ANSWERED, *SAVING)
AFTERMATH_SECONDS = 1.0
LOCKED_SECONDS = IDLE_MILLISECONDS / 1000 + 5
"""How long a stopped worker may keep the others from admitting: until Postgres ends its session, and a beat."""


def run(folder: Path, *, seed: int, seconds: float, server: Databases) -> Part:
    """Stop a worker at each point in turn, in an order that the seed tells; in each lane at one at least."""
    deadline = time.monotonic() + seconds
    lane = partial(_run, folder=folder, seed=seed, server=server, deadline=deadline)
    lanes = {"odd": POINTS[::2], "even": POINTS[1::2], "locks": LOCKING}
    whole = run_side_by_side("fencing", {name: partial(lane, name=name, points=lanes[name]) for name in lanes})
    whole.cells = f"{whole.counts['stalls']}/{len(POINTS) + len(LOCKING)}"
    return whole


def _run(
    part: Part, *, name: str, folder: Path, seed: int, server: Databases, deadline: float, points: tuple[str, ...]
) -> None:
    with sandbox(folder / name, seed=seed) as url:
        house = House(f"fencing-{name}", folder, upstream_url=url, database_url=server.create_database())
        try:
            caller = Caller(house, house.victim("api", workers=False).start())
            second = house.victim("second", api=False).start()
            first = house.victim("first", api=False)
            order = random.Random(seed).sample(points, len(points))
            for number, point in enumerate(order):
                if number == 0 or time.monotonic() < deadline:
                    _stop_at(point, first, second, caller, part=part)
            judge(part, house, url, accepted=caller.accepted)
        finally:
            house.close()


def _stop_at(point: str, first: Victim, second: Victim, caller: Caller, *, part: Part) -> None:
    caller.halt(second)
    first.start(Plan([Fault(point, "pause")]))
    job_id = caller.create(point)
    stopped = first.wait_for("kind")
    part.require(stopped is not None, f"the worker did not reach {point}")
    second.signal(signal.SIGCONT)
    if point in LOCKING:
        _others_are_admitted(point, caller, part=part)
    time.sleep(LEASE_SECONDS)
    if point in LOCKING or point in POINTS[1:]:
        part.require(_left_behind(caller, job_id, point), f"stopped at {point}, nobody took the job over")
    first.signal(signal.SIGCONT)
    first.wait_for("continued", seconds=5)
    time.sleep(AFTERMATH_SECONDS)
    _accuse(part, point, first, job_id)
    first.stop()
    caller.resume()
    ended = caller.wait({job_id}, "succeeded", seconds=30)
    part.require(ended, f"stopped at {point}, the job did not succeed: {caller.states({job_id})}")
    part.counts["stalls"] += 1
    part.counts["faults"] += 1


def _others_are_admitted(point: str, caller: Caller, *, part: Part) -> None:
    """Whatever the stopped worker has locked, another job is taken by another worker before long."""
    began = time.monotonic()
    other = caller.create(f"Beside {point}")
    admitted = caller.wait({other}, "submitting", "generating", "saving", "succeeded", seconds=90)
    took = time.monotonic() - began
    part.require(admitted and took <= LOCKED_SECONDS, f"stopped at {point}, it kept the others waiting {took:.1f} s")
    part.figures.append(f"stopped at {point}, it kept the others waiting {took:.1f} s")


def _left_behind(caller: Caller, job_id: str, point: str) -> bool:
    """Wait until the second worker has moved the job from where the first had it."""
    held = {"saving"} if point in SAVING else {"queued"} if point == LOCKING[0] else {"submitting"}
    others = {"queued", "unconfirmed", "generating", "saving", "succeeded"}
    return caller.wait({job_id}, *(others - held), seconds=20)


def _accuse(part: Part, point: str, first: Victim, job_id: str) -> None:
    """Look at what the first worker did to this job after it was let go on."""
    notes = first.trace()
    since = next((number for number, note in enumerate(notes) if "continued" in note), len(notes))
    part.require(since < len(notes), f"stopped at {point}, the worker did not go on")
    later = [note for note in notes[since:] if job_id in str(note)]
    posted = [note for note in later if "posted" in note and note["posted"].endswith(":1")]
    moved = [note["settled"][1] for note in later if note.get("settled") and note["by"] == _commit_of(point)]
    if point in NOT_TO_POST:
        part.require(not posted, f"stopped at {point}, it posted {posted}")
    if point in SAVING:
        part.require(not moved, f"stopped at {point}, it moved the job to {moved}")
    elif point != POINTS[0]:
        # To where a recorded answer leads, its own or a successor's, anybody may move the job; to nowhere else.
        part.require(set(moved) <= {"generating"}, f"stopped at {point}, it moved the job to {moved}")


def _commit_of(point: str) -> str:
    return "Saver._copy" if point in SAVING else "Submitter._submit"
