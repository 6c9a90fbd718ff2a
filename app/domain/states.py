"""The states of a job and the moves between them: the one table that code, constraints and charts follow."""

from enum import StrEnum
from typing import assert_never


class JobState(StrEnum):
    QUEUED = "queued"
    SUBMITTING = "submitting"
    UNCONFIRMED = "unconfirmed"
    GENERATING = "generating"
    SAVING = "saving"
    ABANDONED = "abandoned"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


class PublicStatus(StrEnum):
    """What callers see of a state."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


S = JobState

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    S.QUEUED: frozenset({S.SUBMITTING, S.CANCELED, S.FAILED}),
    S.SUBMITTING: frozenset({S.GENERATING, S.QUEUED, S.UNCONFIRMED, S.CANCELED, S.ABANDONED, S.FAILED}),
    S.UNCONFIRMED: frozenset({S.GENERATING, S.QUEUED, S.ABANDONED, S.FAILED}),
    S.GENERATING: frozenset({S.SAVING, S.FAILED, S.ABANDONED}),
    S.SAVING: frozenset({S.SUCCEEDED, S.FAILED}),
    S.ABANDONED: frozenset({S.CANCELED}),
    S.SUCCEEDED: frozenset(),
    S.FAILED: frozenset(),
    S.CANCELED: frozenset(),
}

BORN: frozenset[JobState] = frozenset({S.QUEUED, S.SUCCEEDED})
"""States in which a job may be made. `succeeded` is one only for a job that gets an older one's video again."""

TERMINAL: frozenset[JobState] = frozenset(state for state, following in TRANSITIONS.items() if not following)

ENDED_FOR_CALLERS: frozenset[JobState] = TERMINAL | {S.ABANDONED}
"""States in which waiting is over. `abandoned` is one: only our books still wait for its cost."""

OCCUPYING: frozenset[JobState] = frozenset({S.SUBMITTING, S.UNCONFIRMED, S.GENERATING, S.ABANDONED})
"""States that take one of the upstream's concurrent places."""

UNBOUGHT: frozenset[JobState] = frozenset({S.QUEUED, S.SUBMITTING})
"""States of jobs that wait to be bought, or just are. A restored database lets them wait until the log was read."""

DOUBTFUL: frozenset[JobState] = frozenset({S.UNCONFIRMED, S.ABANDONED})
"""States in which, while no generation is known, nobody can tell whether one was bought."""

WATCHED: frozenset[JobState] = frozenset({S.GENERATING, S.ABANDONED})
"""States in which the upstream is asked after the generation, once it is known."""

RETRYABLE: frozenset[JobState] = ENDED_FOR_CALLERS - {S.SUCCEEDED}
"""States of which another job may be made of the same request."""


def may_move(frm: JobState, to: JobState) -> bool:
    """Tell whether the table allows the move."""
    return to in TRANSITIONS[frm]


def public_status(state: JobState) -> PublicStatus:
    """Return what callers see of `state`."""
    match state:
        case S.QUEUED:
            return PublicStatus.QUEUED
        case S.SUBMITTING | S.UNCONFIRMED | S.GENERATING | S.SAVING:
            return PublicStatus.IN_PROGRESS
        case S.SUCCEEDED:
            return PublicStatus.SUCCEEDED
        case S.FAILED:
            return PublicStatus.FAILED
        case S.CANCELED | S.ABANDONED:
            return PublicStatus.CANCELED
        case _:
            assert_never(state)


def states_of(status: PublicStatus) -> frozenset[JobState]:
    """Return the states that callers see as `status`."""
    return frozenset(state for state in JobState if public_status(state) is status)


def event_type(frm: JobState | None, to: JobState) -> str:
    """Return the name of the event that records the move; `frm` is None for a new job."""
    match to:
        case S.QUEUED:
            return "job.created" if frm is None else "job.requeued"
        case S.GENERATING:
            return "job.started"
        case S.ABANDONED:
            return "job.canceled"
        case S.CANCELED:
            return "job.settled" if frm is S.ABANDONED else "job.canceled"
        case S.SUBMITTING | S.UNCONFIRMED | S.SAVING | S.SUCCEEDED | S.FAILED:
            return f"job.{to}"
        case _:
            assert_never(to)
