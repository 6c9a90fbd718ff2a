"""The breaker of polls: a number of failures in a row, then one question at a time."""

from app.workers.breaker import MOST_FAILURES, Breaker


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_room__is_as_usual_until_many_fail_in_a_row() -> None:
    breaker = Breaker(clock=Clock())
    for _ in range(MOST_FAILURES - 1):
        breaker.failed()
    assert breaker.room(100) == 100
    breaker.failed()
    assert breaker.room(100) == 0


def test_room__one_trial_a_pause_ever_more_slowly() -> None:
    clock = Clock()
    breaker = Breaker(clock=clock)
    pauses = []
    for _ in range(MOST_FAILURES):
        breaker.failed()
    for _ in range(8):
        began = clock.now
        while breaker.room(100) == 0:
            clock.now += 0.5
        pauses.append(clock.now - began)
        breaker.failed()
    assert pauses == sorted(pauses)
    assert pauses[-1] <= 61


def test_succeeded__closes_it() -> None:
    breaker = Breaker(clock=Clock())
    for _ in range(MOST_FAILURES + 3):
        breaker.failed()
    breaker.succeeded()
    assert breaker.room(7) == 7


def test_failed__leaves_the_upstream_alone_as_long_as_it_asks() -> None:
    clock = Clock()
    breaker = Breaker(clock=clock)
    breaker.failed(retry_after_seconds=5000)
    clock.now = 599
    assert breaker.room(7) == 0
    clock.now = 601
    assert breaker.room(7) == 7
