"""Jobs that this process has read lately, and how they were shown: kept until the database says that they changed.

Only what depends on nothing but the job's own row and the time is kept: queued jobs also tell their place among others.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime

from app.db.jobs import Owner
from app.db.signals import ANY_JOB, Signals
from app.domain.job import Job
from app.domain.states import ENDED_FOR_CALLERS, JobState

MOST_BYTES = 48 << 20
LARGEST_BYTES = 64 << 10
ROW_BYTES = 3_000
"""About what a row takes in memory beside its input and metadata."""
ANSWER_BYTES = 1_200
"""About what an answer takes beside its body."""
MOST_ANSWERS = 8
KEPT = ENDED_FOR_CALLERS | {JobState.GENERATING}

Reader = tuple[str, datetime | None]
"""A credential, and when it ends by itself: the links in an answer are signed for both."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A whole answer. `expiry` is when links end that were signed when it was made: until that changes, it holds."""

    headers: list[tuple[bytes, bytes]]
    body: bytes
    expiry: int


@dataclass(slots=True)
class Kept:
    """What is known of one job. The row of one that has ended is let go once it was shown."""

    owner: Owner
    job: Job | None
    answers: dict[Reader, Shown] = field(default_factory=dict)
    size: int = 0

    def seen_by(self, owner: Owner) -> bool:
        """Tell whether the job is one of those that `owner` may see."""
        return owner.project_id == self.owner.project_id and owner.subject in (None, self.owner.subject)


class RememberedJobs:
    """Rows and answers by the job's id, those longest unused let go first. Made for one event loop."""

    def __init__(self, signals: Signals, *, most_bytes: int = MOST_BYTES) -> None:
        self._signals = signals
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        signals.heed(self._forget)

    def find(self, job_id: str) -> Kept | None:
        """Return what is known of the job, if it can be relied upon."""
        kept = self._kept.get(job_id)
        if kept is None or not self._signals.are_whole:
            return None
        self._kept.move_to_end(job_id)
        return kept

    def keep(self, job: Job) -> None:
        """Keep the row. The caller knows that no change of it was announced since before it was read."""
        if job.state not in KEPT:
            return
        size = ROW_BYTES + len(repr(job.input)) + len(repr(job.metadata))
        if size > LARGEST_BYTES:
            return
        kept = self._kept.get(job.id)
        if kept is None:
            kept = self._kept[job.id] = Kept(Owner(project_id=job.project_id, subject=job.subject), None)
        if kept.job is None:
            kept.job = job
            self._grow(kept, size)
        self._signals.wanted = True

    def show(self, kept: Kept, reader: Reader, shown: Shown) -> None:
        """Keep the answer for the same reader. The row is not needed any more; another reader has it read again."""
        if len(kept.answers) >= MOST_ANSWERS:
            kept.answers.clear()
        kept.answers[reader] = shown
        kept.job = None
        self._grow(kept, sum(len(answer.body) + ANSWER_BYTES for answer in kept.answers.values()) - kept.size)

    def _grow(self, kept: Kept, size: int) -> None:
        kept.size += size
        self._bytes += size
        while self._bytes > self._most_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.size

    def _forget(self, topic: str | None) -> None:
        """Forget the job of this topic, or all. What is being read is not kept either: see `waiting.until`."""
        if topic is None:
            self._kept.clear()
            self._bytes = 0
        elif gone := self._kept.pop(topic.removeprefix(ANY_JOB), None):
            self._bytes -= gone.size
        self._signals.wanted = bool(self._kept)
