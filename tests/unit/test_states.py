"""The table of states, its chart and what is derived from it."""

import re
from pathlib import Path

import pytest

from app.domain.states import (
    BORN,
    DOUBTFUL,
    ENDED_FOR_CALLERS,
    TERMINAL,
    TRANSITIONS,
    UNBOUGHT,
    WATCHED,
    JobState,
    PublicStatus,
    event_type,
    public_status,
    states_of,
)

CHART = Path(__file__).parents[2] / "docs" / "state-machine.md"


def test_transitions__equal_the_chart_in_the_docs() -> None:
    drawn = set(re.findall(r"^\s+(\w+) --> (\w+):", CHART.read_text("utf-8"), re.MULTILINE))
    assert drawn == {(str(frm), str(to)) for frm, following in TRANSITIONS.items() for to in following}


def test_born__equals_the_beginnings_in_the_chart() -> None:
    begun = re.findall(r"^\s+\[\*\] --> (\w+)", CHART.read_text("utf-8"), re.MULTILINE)
    assert sorted(begun) == sorted(map(str, BORN)) == ["queued", "succeeded"]


def test_terminal__equals_the_ends_in_the_chart() -> None:
    ends = set(re.findall(r"^\s+(\w+) --> \[\*\]", CHART.read_text("utf-8"), re.MULTILINE))
    assert ends == {str(state) for state in TERMINAL} == {"succeeded", "failed", "canceled"}


def test_public_status__equals_the_table_in_the_docs() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", CHART.read_text("utf-8"), re.MULTILINE))
    assert rows == {str(state): str(public_status(state)) for state in JobState}


def test_ended_for_callers__is_every_state_that_looks_final() -> None:
    final = {PublicStatus.SUCCEEDED, PublicStatus.FAILED, PublicStatus.CANCELED}
    assert {state for state in JobState if public_status(state) in final} == ENDED_FOR_CALLERS


def test_unfinished__each_is_unbought_or_watched_or_in_doubt_or_saved() -> None:
    """A state that is none of them is left alone after a restore, polled by nobody, searched for by nobody."""
    assert UNBOUGHT | WATCHED | DOUBTFUL | {JobState.SAVING} == set(JobState) - TERMINAL


def test_states_of__part_the_states_without_overlap() -> None:
    parted = [state for status in PublicStatus for state in states_of(status)]
    assert sorted(parted) == sorted(JobState)


@pytest.mark.parametrize(
    ("frm", "to", "name"),
    [
        (None, JobState.QUEUED, "job.created"),
        (JobState.SUBMITTING, JobState.QUEUED, "job.requeued"),
        (JobState.SUBMITTING, JobState.GENERATING, "job.started"),
        (JobState.GENERATING, JobState.ABANDONED, "job.canceled"),
        (JobState.ABANDONED, JobState.CANCELED, "job.settled"),
        (JobState.QUEUED, JobState.CANCELED, "job.canceled"),
        (JobState.SAVING, JobState.SUCCEEDED, "job.succeeded"),
    ],
)
def test_event_type__one_cancellation_for_callers(frm: JobState | None, to: JobState, name: str) -> None:
    assert event_type(frm, to) == name


def test_event_type__knows_every_move() -> None:
    for frm, following in TRANSITIONS.items():
        for to in following:
            assert event_type(frm, to).startswith("job.")
