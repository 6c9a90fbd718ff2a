"""What the benchmarks make of their rounds: medians, ratios within a round, goals."""

import re

import pytest

from bench.figures import Figure, Goal, table


def test_ratio__compares_within_each_round() -> None:
    # The machine was four times as slow in the last two rounds; both sides were.
    figure = Figure(name="GET", unit="/s", samples=[400, 100, 100], beside=[1000, 250, 250])
    assert (figure.median, figure.ratio) == (100, 0.4)


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        (Goal(of="ratio", at="least", limit=0.4), True),
        (Goal(of="ratio", at="least", limit=0.41), False),
        (Goal(of="ratio", at="most", limit=0.4), True),
        (Goal(of="median", at="most", limit=99), False),
        (None, None),
    ],
)
def test_goal__bounds_the_ratio_or_the_median(goal: Goal | None, met: bool | None) -> None:
    assert Figure(name="GET", unit="/s", samples=[100], beside=[250], goal=goal).met is met


def test_table__says_which_goals_were_missed() -> None:
    missed = Goal(of="median", at="most", limit=2.0)
    lines = table([Figure(name="start", unit="s", samples=[2.5, 2.25, 3.0], goal=missed, note="cold")]).splitlines()
    assert re.split(r"\s{2,}", lines[1]) == ["start", "2.5 s", "2.25 to 3", "<= 2: MISSED", "cold"]
