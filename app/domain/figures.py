"""The figures that an operator watches: what the database knows about the whole deployment at one moment."""

from dataclasses import dataclass
from datetime import datetime

from app.domain.states import JobState


@dataclass(frozen=True, slots=True)
class Crowd:
    """The jobs of one model in one state."""

    state: JobState
    model: str
    count: int
    oldest_at: datetime
    """When the oldest of them was made."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How many jobs of one model ended in one way lately."""

    state: JobState
    model: str
    count: int


@dataclass(frozen=True, slots=True)
class Doubts:
    """Jobs that may have been bought unseen, those of them that only a person can resolve, and what they may cost."""

    jobs: int
    unresolved: int
    micros: int


@dataclass(frozen=True, slots=True)
class Books:
    """This month's sums over all projects, and how many projects have used nine tenths of their budget."""

    spent_micros: int
    reserved_micros: int
    nearly_spent: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """Webhook deliveries that are owed to endpoints which are not disabled."""

    owed: int
    oldest_at: datetime | None
    """When the event happened that has been owed for longest."""
    oldest_due_at: datetime | None
    """Since when the next attempt has been due that is overdue most, or when the next one is."""


@dataclass(frozen=True, slots=True)
class Figures:
    """All of them. No project, key or prompt is named."""

    at: datetime
    live: list[Crowd]
    """Jobs that are not final."""
    ended: list[Ended]
    """Jobs that became final within the last ten minutes and are not deleted."""
    doubts: Doubts
    parked: int
    strays: int
    hold: str | None
    """Why all submissions hold, if they do."""
    model_holds: dict[str, str]
    pace_per_minute: float | None
    books: Books
    backlog: Backlog
    beat_at: datetime | None
    """When a worker last said that it lives."""
    log_read_at: datetime | None
    """When the upstream's usage log was last read to its end."""

    def of_state(self, state: JobState) -> int:
        """Return how many jobs are in this state; for a final one, how many came there lately."""
        groups: list[Crowd | Ended] = [*self.live, *self.ended]
        return sum(group.count for group in groups if group.state is state)

    @property
    def oldest_queued_at(self) -> datetime | None:
        """When the job was made that has been queued for longest."""
        return min((crowd.oldest_at for crowd in self.live if crowd.state is JobState.QUEUED), default=None)
