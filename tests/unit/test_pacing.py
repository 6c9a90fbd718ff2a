"""Durations learned, polls paced, progress shown."""

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from app.domain import pacing
from app.domain.pacing import Durations, Pace, eta_seconds, overdue, progress, seconds_to_next_poll

times = st.floats(min_value=0, max_value=1e6)
expectations = st.floats(min_value=0.1, max_value=1e5)


def learned(median: float, sigma: float, count: int = 500) -> Durations:
    durations = Durations()
    chance = random.Random(4)
    for _ in range(count):
        durations = durations.observed(chance.lognormvariate(math.log(median), sigma))
    return durations


def test_durations__learn_median_and_spread() -> None:
    durations = learned(45, 0.1)
    assert abs(durations.typical_seconds - 45) < 1
    assert abs(durations.spread - 0.1) < 0.03


def test_durations__nothing_seen_is_a_wide_minute() -> None:
    assert math.isclose(Durations().typical_seconds, 60)
    assert Durations().spread > 0.5


def test_next_poll__few_polls_and_soon_noticed_once_learned() -> None:
    """Play 4,000 generations, each learned from when its end was noticed, which is always a little late."""
    durations, chance = learned(45, 0.08), random.Random(5)
    polls, lags = 0, []
    for _ in range(4_000):
        end, now = chance.lognormvariate(math.log(45), 0.08), 0.0
        while now < end:
            now += seconds_to_next_poll(now, durations)
            polls += 1
        lags.append(now - end)
        durations = durations.observed(now)
    lags.sort()
    assert polls / len(lags) <= 6
    assert lags[len(lags) // 2] <= 1
    assert lags[len(lags) * 99 // 100] <= 5


def test_next_poll__silent_until_the_earliest_likely_end() -> None:
    durations = learned(45, 0.1)
    assert 30 < seconds_to_next_poll(0, durations) < 45


def test_next_poll__ever_more_slowly_when_late() -> None:
    durations = learned(45, 0.1)
    waits = [seconds_to_next_poll(elapsed, durations) for elapsed in (100, 1000, 5000, 100_000)]
    assert waits == sorted(waits)
    assert waits[-1] == pacing.LONGEST_INTERVAL_SECONDS


def test_next_poll__a_fixed_interval_replaces_the_learned_one() -> None:
    assert seconds_to_next_poll(3, learned(45, 0.1), fixed=10) == 10


@given(times, expectations)
def test_next_poll__is_always_a_positive_time(elapsed: float, median: float) -> None:
    assert 0 < seconds_to_next_poll(elapsed, Durations().observed(median)) < 1e7


@given(times, times, expectations)
def test_progress__is_monotone_and_capped(one: float, other: float, expected: float) -> None:
    early, late = sorted((one, other))
    assert 0 <= progress(early, expected) <= progress(late, expected) <= pacing.CAP_UNFINISHED


def test_progress__goes_on_more_slowly_from_the_expected_end() -> None:
    assert [progress(elapsed, 60) for elapsed in (0, 30, 60, 63, 66, 120, 600)] == [0, 45, 90, 90, 90, 94, 94]


@given(times, expectations)
def test_eta__is_at_least_a_second(elapsed: float, expected: float) -> None:
    assert eta_seconds(elapsed, expected) >= 1


def test_eta__counts_down_to_the_expected_end() -> None:
    assert eta_seconds(15, 45) == 30


def test_overdue__only_well_past_the_expected_end() -> None:
    assert not overdue(45 * 3 + 59, 45)
    assert overdue(45 * 3 + 61, 45)


def test_pace__halves_and_grows_until_no_limit_is_needed() -> None:
    assert [Pace().slower().per_minute, Pace(30).slower().per_minute, Pace(1.5).slower().per_minute] == [30, 15, 1]
    assert [Pace().faster(), Pace(118).faster(), Pace(120).faster()] == [Pace(), Pace(120), Pace()]
