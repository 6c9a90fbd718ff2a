"""When to poll next, how far a generation is, when it is overdue; and how fast to submit after a rate limit."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

OVERDUE_FACTOR = 3.0
OVERDUE_SLACK_SECONDS = 60.0
SHORTEST_INTERVAL_SECONDS = 0.5
LONGEST_INTERVAL_SECONDS = 600.0
EARLIEST, LATEST, STEP = -1.6, 2.5, 0.4
"""In standard deviations: where the likely ends begin and stop, and how far apart they are asked for."""
CAP_UNFINISHED = 95
"""Progress never passes this before the job is finished."""


@dataclass(frozen=True, slots=True)
class Durations:
    """How long a model's generations take, as a lognormal: how many were seen, mean and squared deviations of ln(s)."""

    seen: int = 0
    mean_log: float = 0.0
    m2_log: float = 0.0

    def observed(self, seconds: float) -> "Durations":
        """Return these durations with one more seen (Welford's update)."""
        value = math.log(max(seconds, 0.01))
        seen = self.seen + 1
        delta = value - self.mean_log
        mean = self.mean_log + delta / seen
        return Durations(seen, mean, self.m2_log + delta * (value - mean))

    @property
    def typical_seconds(self) -> float:
        """The median: learned, or the prior of a minute before anything was seen."""
        return math.exp(self._blended_mean())

    @property
    def spread(self) -> float:
        """The standard deviation of ln(seconds), kept within 0.05 and 0.8; wide while little was seen."""
        prior_weight, prior_variance = 3.0, 0.36
        variance = (self.m2_log + prior_weight * prior_variance) / (self.seen + prior_weight)
        return min(0.8, max(0.05, math.sqrt(variance)))

    def quantile(self, z: float) -> float:
        """Return the seconds that lie `z` standard deviations from the median."""
        return math.exp(self._blended_mean() + z * self.spread)

    def _blended_mean(self) -> float:
        return math.log(60.0) if self.seen == 0 else self.mean_log


def seconds_to_next_poll(elapsed_seconds: float, durations: Durations, *, fixed: float | None = None) -> float:
    """Return how long to wait before the next poll.

    Silent until the earliest likely end, dense around the likely end, then ever more slowly: a tenth of the time
    already waited. `fixed` replaces all of it.
    """
    if fixed is not None:
        return fixed
    earliest = durations.quantile(EARLIEST)
    # A little before it counts as there: what is known moves on between the booking and the poll.
    if elapsed_seconds < durations.quantile(EARLIEST - STEP):
        return max(SHORTEST_INTERVAL_SECONDS, earliest - elapsed_seconds)
    if elapsed_seconds <= durations.quantile(LATEST):
        dense = STEP * durations.spread * durations.typical_seconds
        return min(max(SHORTEST_INTERVAL_SECONDS, dense), 10.0)
    return min(max(1.0, elapsed_seconds / 10), LONGEST_INTERVAL_SECONDS)


def progress(elapsed_seconds: float, expected_seconds: float) -> int:
    """Return the percentage shown for an unfinished generation: monotone in time, at most CAP_UNFINISHED."""
    ratio = max(0.0, elapsed_seconds) / max(expected_seconds, 0.1)
    shown = 90 * ratio if ratio <= 1 else 90 + 5 * (1 - math.exp(-2 * (ratio - 1)))
    return min(CAP_UNFINISHED, int(shown))


def eta_seconds(elapsed_seconds: float, expected_seconds: float) -> int:
    """Return the seconds that a generation probably still takes; past the expected end, a part of the time waited."""
    remaining = expected_seconds - elapsed_seconds
    return math.ceil(remaining if remaining > 1 else max(1.0, 0.15 * elapsed_seconds))


def seconds_with_queue(typical_seconds: float, *, ahead: int, places: int) -> float:
    """Return how long a new job takes that waits for `ahead` others, `places` of which are made at once."""
    return typical_seconds * (1 + ahead // places)


def overdue(elapsed_seconds: float, expected_seconds: float) -> bool:
    """Tell whether the job is late enough to say so. Being overdue is no failure."""
    return elapsed_seconds > OVERDUE_FACTOR * expected_seconds + OVERDUE_SLACK_SECONDS


FIRST_PACE_PER_MINUTE = 30.0
SLOWEST_PACE_PER_MINUTE = 1.0
UNLIMITED_PACE_PER_MINUTE = 120.0
PACE_GAINED = 2.0
LARGEST_BURST = 5


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast submissions are admitted: `per_minute`, None for no limit; the next one not before `next_at`."""

    per_minute: float | None = None
    next_at: datetime | None = None

    def slower(self) -> "Pace":
        """A rate limit was hit: half the pace, at least one a minute."""
        halved = FIRST_PACE_PER_MINUTE if self.per_minute is None else self.per_minute / 2
        return Pace(max(SLOWEST_PACE_PER_MINUTE, halved), self.next_at)

    def faster(self) -> "Pace":
        """A submission was accepted: a little faster, until no limit is needed."""
        if self.per_minute is None:
            return self
        gained = self.per_minute + PACE_GAINED
        return Pace() if gained > UNLIMITED_PACE_PER_MINUTE else Pace(gained, self.next_at)

    def room(self, now: datetime) -> int | None:
        """Return how many submissions may go now; None for any number."""
        if self.per_minute is None:
            return None
        if self.next_at is None:
            return 1
        late_seconds = (now - self.next_at).total_seconds()
        return 0 if late_seconds < 0 else min(LARGEST_BURST, 1 + int(late_seconds * self.per_minute / 60))

    def after(self, admitted: int, now: datetime) -> "Pace":
        """The pace once so many have gone."""
        if self.per_minute is None or admitted == 0:
            return self
        return Pace(self.per_minute, now + timedelta(seconds=60 * admitted / self.per_minute))
