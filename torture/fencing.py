"""Fencing: a worker is stopped (SIGSTOP) past its lease, another takes over, and the first is let go on.

It must post nothing unless it had already committed that it would, and move no job but by a paid answer in its hand.
"""

import signal
import time
from pathlib import Path

from tests.postgres import Databases
from torture.caller import Caller
from torture.house import LEASE_SECONDS, House, Victim, sandbox
from torture.judge import judge
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
POINTS = (*BEFORE_THE_MARK, *MARKED, *ANSWERED, *SAVING)
AFTERMATH_SECONDS = 1.5


def run(folder: Path, *, seed: int, seconds: float, server: Databases) -> Part:
    """Stop a worker at each point in turn."""
    part = Part("fencing")
    with sandbox(folder, seed=seed) as url:
        house = House("fencing", folder, upstream_url=url, database_url=server.create_database())
        try:
            caller = Caller(house, house.victim("api", workers=False).start())
            second = house.victim("second", api=False).start()
            first = house.victim("first", api=False)
            deadline = time.monotonic() + seconds
            for point in POINTS:
                if time.monotonic() < deadline:
                    _stop_at(point, first, second, caller, part=part)
            judge(part, house, url, accepted=caller.accepted)
        finally:
            house.close()
    part.figures.append(f"stopped at {part.counts['stalls']} points around the POST and the save")
    return part


def _stop_at(point: str, first: Victim, second: Victim, caller: Caller, *, part: Part) -> None:
    caller.halt(second)
    first.start(Plan([Fault(point, "pause")]))
    job_id = caller.create(point)
    stopped = first.wait_for("kind")
    part.require(stopped is not None, f"the worker did not reach {point}")
    second.signal(signal.SIGCONT)
    time.sleep(LEASE_SECONDS)
    if point in POINTS[1:]:
        part.require(_left_behind(caller, job_id, point), f"stopped at {point}, nobody took the job over")
    first.signal(signal.SIGCONT)
    time.sleep(AFTERMATH_SECONDS)
    _accuse(part, point, first, job_id)
    first.stop()
    caller.resume()
    ended = caller.wait({job_id}, "succeeded", seconds=30)
    part.require(ended, f"stopped at {point}, the job did not succeed: {caller.states({job_id})}")
    part.counts["stalls"] += 1
    part.counts["faults"] += 1


def _left_behind(caller: Caller, job_id: str, point: str) -> bool:
    """Wait until the second worker has moved the job from where the first had it."""
    held = "saving" if point in SAVING else "submitting"
    others = ("queued", "unconfirmed", "generating", "saving", "succeeded")
    return caller.wait({job_id}, *(state for state in others if state != held), seconds=15)


def _accuse(part: Part, point: str, first: Victim, job_id: str) -> None:
    """Look at what the first worker did to this job after it was let go on."""
    notes = first.trace()
    since = next((number for number, note in enumerate(notes) if "continued" in note), len(notes))
    part.require(since < len(notes), f"stopped at {point}, the worker did not go on")
    later = [note for note in notes[since:] if job_id in str(note)]
    posted = [note for note in later if "posted" in note and note["posted"].endswith(":1")]
    moved = [note["settled"] for note in later if note.get("settled")]
    if point in BEFORE_THE_MARK[1:]:
        part.require(not posted, f"stopped at {point}, it posted {posted}")
    if point in ANSWERED[:3]:
        # Its answer is the news: recorded, it may move the job, and only to where a paid answer leads.
        part.require(all(state == "generating" for _, state in moved), f"stopped at {point}, it moved {moved}")
