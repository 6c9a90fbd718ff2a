"""When to poll next, how far a generation is, and when it is overdue: from the durations seen before."""

import math
from dataclasses import dataclass

OVERDUE_FACTOR = 3.0
OVERDUE_SLACK_SECONDS = 60.0
SHORTEST_INTERVAL_SECONDS = 0.5
LONGEST_INTERVAL_SECONDS = 600.0
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
    earliest = durations.quantile(-1.7)
    if elapsed_seconds < earliest:
        return max(SHORTEST_INTERVAL_SECONDS, earliest - elapsed_seconds)
    if elapsed_seconds <= durations.quantile(2.0):
        dense = 0.5 * durations.spread * durations.typical_seconds
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
