"""What follows each failure of a submission."""

import pytest

from app.domain.errors import NotSent, Refusal, Refused, Unconfirmed
from app.domain.retry import Again, GiveUp, Hold, HoldModel, Uncertain, after_doubts, backoff, decide


def refused(refusal: Refusal, *, after: float | None = None) -> Refused:
    return Refused("no", refusal=refusal, http_status=400, retry_after_seconds=after)


def test_decide__what_never_left_holds_ever_longer_up_to_a_minute() -> None:
    holds = [decide(NotSent("refused"), hold_level=level) for level in (0, 1, 3, 50)]
    assert holds == [Hold(seconds, "upstream_unreachable", probe_first=True) for seconds in (1, 2, 8, 60)]


def test_decide__what_may_have_been_bought_is_never_retried() -> None:
    assert isinstance(decide(Unconfirmed("hung up")), Uncertain)


@pytest.mark.parametrize(
    ("refusal", "code"), [(Refusal.INVALID_INPUT, "invalid_input"), (Refusal.NOT_FOUND, "upstream_rejected")]
)
def test_decide__a_bad_request_fails_the_job(refusal: Refusal, code: str) -> None:
    assert decide(refused(refusal)) == GiveUp(code, "no")


@pytest.mark.parametrize("refusal", [Refusal.BAD_KEY, Refusal.FORBIDDEN, Refusal.OUT_OF_CREDITS])
def test_decide__account_trouble_holds_everything_until_a_look_says_otherwise(refusal: Refusal) -> None:
    first = decide(refused(refusal), hold_level=0)
    fifth = decide(refused(refusal), hold_level=5)
    assert isinstance(first, Hold)
    assert isinstance(fifth, Hold)
    assert first.seconds < fifth.seconds <= 600
    assert first.probe_first


def test_decide__a_forbidden_model_holds_alone_and_gives_up_after_three() -> None:
    decisions = [decide(refused(Refusal.MODEL_FORBIDDEN), model_level=n - 1, refusals=n) for n in (1, 2, 3)]
    assert decisions == [
        HoldModel(30, "model_forbidden"),
        HoldModel(60, "model_forbidden"),
        GiveUp("upstream_rejected", "no"),
    ]


def test_decide__what_the_log_lists_as_failed_is_tried_again_and_gives_up_after_three() -> None:
    decisions = [decide(refused(Refusal.LOGGED_AS_FAILED), refusals=n) for n in (1, 2, 3)]
    assert decisions == [
        Again(30, "upstream_failed"),
        Again(60, "upstream_failed"),
        GiveUp("upstream_rejected", "no"),
    ]


def test_decide__what_an_operator_declared_not_created_goes_on_at_once_however_often() -> None:
    assert decide(refused(Refusal.NOT_CREATED), refusals=9) == Again(0, "resolved_as_not_created")


def test_after_doubts__holds_from_the_third_in_a_row() -> None:
    assert [after_doubts(n) for n in (1, 2)] == [None, None]
    assert after_doubts(3) == Hold(10, "upstream_failing", probe_first=True)
    assert after_doubts(4, hold_level=2) == Hold(40, "upstream_failing", probe_first=True)


@pytest.mark.parametrize(("asked", "seconds"), [(7, 7), (0, 1), (-3, 1), (90_000, 600)])
def test_decide__rate_limit_waits_as_asked_within_ten_minutes(asked: float, seconds: float) -> None:
    assert decide(refused(Refusal.RATE_LIMITED, after=asked)) == Hold(seconds, "upstream_rate_limited")


def test_decide__rate_limit_without_a_word_backs_off() -> None:
    assert decide(refused(Refusal.RATE_LIMITED), hold_level=3) == Hold(8, "upstream_rate_limited")


def test_backoff__never_overflows() -> None:
    assert backoff(10_000, most=60) == 60
