"""What follows a failed submission."""

from dataclasses import dataclass

from app.domain.errors import NotSent, Refusal, Refused, UpstreamFailure

LONGEST_PAUSE_SECONDS = 600.0
HOLD_SECONDS = 30.0
LONGEST_OUTAGE_PAUSE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Hold:
    """Stop all submissions for a while; the job goes back to the queue."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The job fails, unbought."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Uncertain:
    """Something may have been bought: never post again."""

    message: str


Decision = Hold | GiveUp | Uncertain


def backoff(attempt: int, *, first: float = 1.0, most: float = LONGEST_PAUSE_SECONDS) -> float:
    """Return the pause before the next try: `first` seconds doubled per attempt, at most `most`."""
    return min(most, first * float(2 ** min(attempt, 20)))


def decide(failure: UpstreamFailure, *, hold_level: int = 0) -> Decision:
    """Decide what follows a failed submission.

    `hold_level` counts the holds in a row, so that a lasting outage is asked about ever more slowly, by one job.
    """
    if isinstance(failure, NotSent):
        return Hold(backoff(hold_level, most=LONGEST_OUTAGE_PAUSE_SECONDS), "upstream_unreachable")
    if not isinstance(failure, Refused):
        return Uncertain(failure.message)
    match failure.refusal:
        case Refusal.INVALID_INPUT:
            return GiveUp("invalid_input", failure.message)
        case Refusal.NOT_FOUND:
            return GiveUp("upstream_rejected", failure.message)
        case Refusal.BAD_KEY:
            return Hold(backoff(hold_level, first=HOLD_SECONDS), "upstream_key_refused")
        case Refusal.FORBIDDEN:
            return Hold(backoff(hold_level, first=HOLD_SECONDS), "upstream_forbidden")
        case Refusal.RATE_LIMITED:
            asked = failure.retry_after_seconds
            # Never at once, even if asked to: with the clocks apart that would be a storm.
            pause = max(asked or 0.0, backoff(hold_level))
            return Hold(min(pause, LONGEST_PAUSE_SECONDS), "upstream_rate_limited")
