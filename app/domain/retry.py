"""What follows a failed submission."""

from dataclasses import dataclass

from app.domain.errors import NotSent, Refusal, Refused, UpstreamFailure

LONGEST_PAUSE_SECONDS = 600.0
LONGEST_SAVE_PAUSE_SECONDS = 600.0
TOO_LARGE_PAUSE_SECONDS = 21_600.0
"""Until somebody raises REELAY_MAX_VIDEO_BYTES, downloading it again only costs traffic."""
HOLD_SECONDS = 30.0
LONGEST_OUTAGE_PAUSE_SECONDS = 60.0
MOST_REFUSALS = 3
"""How often one job is tried again after a refusal that may pass, or may be meant for good."""
MOST_DOUBTS = 3
"""How many submissions in a row may end in doubt before all wait: each of them is a job in somebody's way."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Stop all submissions for a while; the job goes back to the queue."""

    seconds: float
    reason: str
    probe_first: bool = False
    """Ask a free question before one job tries again: no job is risked to find out what a look can tell."""


@dataclass(frozen=True, slots=True)
class HoldModel:
    """Stop submissions of this job's model for a while; the job goes back to the queue."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Again:
    """Nothing was bought: queue this job once more, after a while."""

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


Decision = Hold | HoldModel | Again | GiveUp | Uncertain


def backoff(attempt: int, *, first: float = 1.0, most: float = LONGEST_PAUSE_SECONDS) -> float:
    """Return the pause before the next try: `first` seconds doubled per attempt, at most `most`."""
    return min(most, first * float(2 ** min(attempt, 20)))


def decide(failure: UpstreamFailure, *, hold_level: int = 0, model_level: int = 0, refusals: int = 1) -> Decision:
    """Decide what follows a failed submission.

    `hold_level` counts the holds in a row, so that a lasting outage is asked about ever more slowly, by one job;
    `model_level` does so for the job's model. `refusals` is how often this job was refused for this reason by now.
    """
    if isinstance(failure, NotSent):
        return Hold(backoff(hold_level, most=LONGEST_OUTAGE_PAUSE_SECONDS), "upstream_unreachable", probe_first=True)
    if not isinstance(failure, Refused):
        return Uncertain(failure.message)
    match failure.refusal:
        case Refusal.INVALID_INPUT:
            return GiveUp("invalid_input", failure.message)
        case Refusal.COST_LIMIT:
            return GiveUp("cost_limit_exceeded", failure.message)
        case Refusal.NOT_FOUND:
            return GiveUp("upstream_rejected", failure.message)
        case Refusal.BAD_KEY | Refusal.FORBIDDEN | Refusal.OUT_OF_CREDITS:
            return Hold(backoff(hold_level, first=HOLD_SECONDS), _OF_ACCOUNT[failure.refusal], probe_first=True)
        case Refusal.MODEL_FORBIDDEN | Refusal.LOGGED_AS_FAILED if refusals >= MOST_REFUSALS:
            return GiveUp("upstream_rejected", failure.message)
        case Refusal.MODEL_FORBIDDEN:
            return HoldModel(backoff(model_level, first=HOLD_SECONDS), "model_forbidden")
        case Refusal.LOGGED_AS_FAILED:
            return Again(backoff(refusals, first=HOLD_SECONDS / 2), "upstream_failed")
        case Refusal.NOT_CREATED:
            return Again(0.0, "resolved_as_not_created")
        case Refusal.RATE_LIMITED:
            asked = failure.retry_after_seconds
            # Never at once, even if asked to: with the clocks apart that would be a storm.
            pause = max(asked or 0.0, backoff(hold_level))
            return Hold(min(pause, LONGEST_PAUSE_SECONDS), "upstream_rate_limited")


def after_doubts(doubts: int, *, hold_level: int = 0) -> Hold | None:
    """Return the hold that follows `doubts` submissions in a row whose outcome nobody knows; None for a few."""
    if doubts < MOST_DOUBTS:
        return None
    return Hold(backoff(hold_level, first=10), "upstream_failing", probe_first=True)


_OF_ACCOUNT = {
    Refusal.BAD_KEY: "upstream_key_refused",
    Refusal.FORBIDDEN: "upstream_forbidden",
    Refusal.OUT_OF_CREDITS: "upstream_out_of_credits",
}
