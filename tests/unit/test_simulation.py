"""The house in virtual time: what must hold of every run, and small cases worked out by hand."""

import math
from dataclasses import replace

import pytest

from app.workers.loop import REST_SECONDS
from bench import spent
from bench.simulate import report
from bench.simulation import Scenario, Simulation
from bench.spent import Cost

FREE = dict.fromkeys(spent.read(), Cost())
ALONE = Scenario(
    jobs=1, workers=1, places=1, projects=1, crowds=1, crowded_share=1.0, median_seconds=10, p90_seconds=10, costs=FREE
)
"""One project whose generations take ten seconds, where the database costs nothing."""
FIRST_POLL_SECONDS = 60 * math.exp(-1.6 * 0.6)
"""After the start, while nothing was learned: 1.6 standard deviations of 0.6 before a minute."""
NOTICED = 1.0 + FIRST_POLL_SECONDS + REST_SECONDS + 0.2
"""A second for the purchase, the first poll with the poller's rest, and the answer."""


def ran(scenario: Scenario) -> Simulation:
    done = Simulation(scenario)
    done.run()
    return done


def test_simulation__every_job_ends_once_and_no_place_is_taken_twice() -> None:
    done = ran(Scenario(jobs=2_000, workers=4, places=300, projects=16, arrivals_per_second=2.0))
    steps = zip(done.created, done.admitted, done.started, done.ends, done.noticed, strict=True)
    assert all(created <= admitted < started < ends < noticed for created, admitted, started, ends, noticed in steps)
    assert done.done["settle a finished one"] == done.done["admit one"] == done.done["send"] == 2_000
    assert max(done.gate_held, done.learning_held, done.telling_held) <= done.now
    changes = [(at, 1) for at in done.admitted] + [(at, -1) for at in done.noticed]
    taken = most = 0
    for _, change in sorted(changes):
        taken += change
        most = max(most, taken)
    assert (taken, most) == (0, 300)


def test_simulation__is_fair_to_those_who_queue_much_and_quick_for_those_who_queue_little() -> None:
    shown = report(ran(Scenario(jobs=4_000, workers=4, places=200, projects=16, arrivals_per_second=1.0)))
    # The largest crowd queues eight times as much as the smallest.
    assert shown.fairness > 0.99
    # Places come free in waves at first: nobody waits longer than from one wave to the next.
    assert shown.worst_wait_seconds < 60


def test_simulation__notices_the_end_at_the_first_poll() -> None:
    done = ran(ALONE)
    assert done.ends[0] == pytest.approx(11.0)
    assert (done.done["poll"], done.noticed[0]) == (1, pytest.approx(NOTICED))


def test_simulation__admits_the_next_once_a_place_is_free() -> None:
    done = ran(replace(ALONE, jobs=2))
    assert done.admitted[1] == pytest.approx(done.noticed[0] + REST_SECONDS)


def test_simulation__submitters_wait_for_each_other_at_the_gate() -> None:
    # The first of three admits one for two seconds; the others, who saw room as well, hold the gate for one each.
    costs = FREE | {"pass the gate": Cost(wall_ms=1000), "admit one": Cost(wall_ms=1000)}
    done = ran(replace(ALONE, workers=3, costs=costs))
    assert done.admitted[0] == pytest.approx(2.0)
    assert done.gate_held == pytest.approx(4.0)


def test_simulation__settles_together_what_ended_while_others_were_written() -> None:
    # Five answers at once: one is written, then the other four in one transaction, each holding the durations.
    costs = FREE | {"learn": Cost(wall_ms=1000)}
    done = ran(replace(ALONE, jobs=5, places=5, costs=costs))
    assert list(done.noticed) == pytest.approx([NOTICED + 1, *[NOTICED + 2] * 4])
    assert done.done["settle finished"] == 2
