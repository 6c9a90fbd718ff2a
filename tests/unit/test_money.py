"""Money: exact, rounded up, and never guessed low."""

import json
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.domain.money import (
    UNKNOWN,
    Estimate,
    FixedPrice,
    Price,
    VariablePrice,
    Variant,
    VariantPrice,
    credits_to_micros,
    estimate,
    micros_to_usd,
    month_of,
    quote,
    rule_from_json,
    usd_to_micros,
)

prices = st.decimals(min_value=0, max_value=100, places=7).filter(
    lambda amount: amount == 0 or amount > Decimal("1e-7")
)
pers = st.integers(1, 1000)
durations = st.integers(1, 600)


def fixed(price: Any, *, measure: str = "second", per: Any = 1) -> dict[str, Any]:
    unit = {"name": "output", "measure": measure, "price": price, "per": per}
    return {"kind": "fixed", "currency": "USD", "units": [unit]}


def variants(*rows: tuple[dict[str, Any], Any], unit: str = "second") -> dict[str, Any]:
    return {
        "kind": "variants",
        "dimensions": ["resolution"],
        "variants": [{"when": when, "price": price, "unit": unit, "per": 1} for when, price in rows],
    }


def cost(rule: dict[str, Any], **effective_input: Any) -> int | None:
    return estimate(rule_from_json(rule), effective_input).micros


# Conversions


@pytest.mark.parametrize(("amount", "micros"), [(0, 0), (1, 1), (2, 1), (3, 2), (2_000_000, 1_000_000)])
def test_credits_to_micros__rounds_up(amount: int, micros: int) -> None:
    assert credits_to_micros(amount) == micros


def test_credits_to_micros__refuses_negative() -> None:
    with pytest.raises(ValueError, match="negative"):
        credits_to_micros(-1)


@given(st.integers(0, 10**15))
def test_credits_to_micros__never_short_by_a_credit(amount: int) -> None:
    assert 0 <= credits_to_micros(amount) * 2 - amount <= 1


@pytest.mark.parametrize(
    ("usd", "micros"),
    [
        (Decimal("0.65"), 650_000),
        ("3.25", 3_250_000),
        (0.1, 100_000),
        ("0.0000001", 1),
        (2.0000001, 2_000_001),
        (1e-05, 10),
        (7, 7_000_000),
        ("-1.5", -1_500_000),
    ],
)
def test_usd_to_micros__is_exact_and_rounds_up(usd: Any, micros: int) -> None:
    assert usd_to_micros(usd) == micros


@pytest.mark.parametrize("usd", ["", "abc", "NaN", "inf", float("nan"), True, None, [], "1e400", "1e-400", "9" * 50])
def test_usd_to_micros__refuses_what_is_no_amount(usd: Any) -> None:
    with pytest.raises(ValueError, match="not a number"):
        usd_to_micros(usd)


@given(st.integers(0, 10**14))
def test_micros_to_usd__survives_the_way_back(micros: int) -> None:
    assert usd_to_micros(micros_to_usd(micros)) == micros


# Fixed prices


def test_estimate__fixed_per_second_takes_the_duration() -> None:
    assert estimate(rule_from_json(fixed(0.5)), {"duration": 5}) == Estimate(2_500_000, "price_list")


def test_estimate__reads_price_with_per() -> None:
    assert cost(fixed(1, per=3), duration=5) == 1_666_667
    assert cost(fixed("0.10", per=10), duration=5) == 50_000
    assert cost(fixed(0.5, per=None), duration=5) == 2_500_000


def test_estimate__fixed_per_video_needs_no_duration() -> None:
    assert cost(fixed(0.4, measure="video")) == 400_000


def test_estimate__adds_up_several_units() -> None:
    rule = fixed(0.1)
    rule["units"].append({"name": "fee", "measure": "video", "price": 1, "per": 1})
    assert cost(rule, duration=5) == 1_500_000


@pytest.mark.parametrize(
    ("unit", "given", "micros"),
    [
        ("video", {}, 2_000_000),
        ("generation", {}, 2_000_000),
        ("request", {"duration": 9}, 2_000_000),
        ("second", {"duration": 5}, 10_000_000),
        ("minute", {"duration": 30}, 1_000_000),
        ("minute", {"duration": 1}, 33_334),
        ("minute", {}, None),
        ("token", {"duration": 5}, None),
        ("video-token", {"duration": 5}, None),
        ("megapixel", {"duration": 5}, None),
    ],
)
def test_estimate__by_every_unit_and_unknown_by_what_cannot_be_counted_ahead(
    unit: str, given: dict[str, Any], micros: int | None
) -> None:
    rule = {"kind": "fixed", "units": [{"measure": unit, "price": 2, "per": 1}]}
    assert quote(rule, given).micros == micros


@pytest.mark.parametrize("rule", [None, {}, {"kind": "auction"}, {"kind": "fixed"}, "free", 3])
def test_quote__without_a_rule_that_can_be_read_is_unknown(rule: Any) -> None:
    assert quote(rule, {"duration": 5}) == UNKNOWN


@pytest.mark.parametrize(
    ("moment", "month"),
    [
        ("2026-11-30T23:59:59+00:00", "2026-11"),
        ("2026-12-01T00:30:00+01:00", "2026-11"),
        ("2027-01-01T00:00:00+00:00", "2027-01"),
    ],
)
def test_month_of__is_that_of_utc(moment: str, month: str) -> None:
    assert month_of(datetime.fromisoformat(moment)) == month


def test_estimate__one_unknown_unit_makes_it_unknown() -> None:
    rule = fixed(0.1)
    rule["units"].append({"name": "input", "measure": "token", "price": 1, "per": 1000})
    assert estimate(rule_from_json(rule), {"duration": 5}) == Estimate(None, "unknown")


def test_estimate__names_the_unit_by_measure_then_unit_then_name() -> None:
    assert cost({"kind": "fixed", "units": [{"name": "video", "price": 1, "per": 1}]}) == 1_000_000
    assert cost({"kind": "fixed", "units": [{"name": "video", "measure": "second", "price": 1, "per": 1}]}) is None


@pytest.mark.parametrize("duration", ["5", "5.0", 5.0, " 5 "])
def test_estimate__takes_duration_as_text(duration: Any) -> None:
    assert cost(fixed(0.5), duration=duration) == 2_500_000


@pytest.mark.parametrize("duration", [None, "auto", "", True, -1, 0, [5], "NaN", "5s", "1e300", 10**400])
def test_estimate__without_a_duration_is_unknown(duration: Any) -> None:
    assert cost(fixed(0.5), duration=duration) is None
    assert cost(fixed(0.5)) is None


def test_estimate__beyond_any_sense_is_unknown() -> None:
    assert cost(fixed(10**6), duration=10**6) is None


def test_estimate__variable_is_unknown() -> None:
    assert estimate(rule_from_json({"kind": "variable"}), {"duration": 5}) == Estimate(None, "unknown")


# Variants


RESOLUTIONS = variants(({"resolution": "720p"}, 0.65), ({"resolution": "1080p"}, 0.9))


def test_estimate__chooses_the_variant_that_matches() -> None:
    found = estimate(rule_from_json(RESOLUTIONS), {"resolution": "720p", "duration": 5})
    assert (found.micros, found.basis, found.assumption) == (3_250_000, "price_list", None)


def test_estimate__compares_values_without_case() -> None:
    assert cost(RESOLUTIONS, resolution="720P", duration=1) == 650_000


def test_estimate__compares_booleans_and_numbers() -> None:
    rule = variants(({"generate_audio": True}, 2), ({"generate_audio": False}, 1))
    assert cost(rule, generate_audio=False, duration=1) == 1_000_000
    assert cost(rule, generate_audio="true", duration=1) == 2_000_000
    assert cost(rule, generate_audio="False", duration=1) == 1_000_000
    by_length = variants(({"duration": "5"}, 1), ({"duration": 10}, 3), unit="video")
    assert cost(by_length, duration=5) == 1_000_000
    assert cost(by_length, duration="10") == 3_000_000


def test_estimate__one_is_not_true() -> None:
    rule = variants(({"generate_audio": True}, 1), ({"generate_audio": False}, 2))
    assert cost(rule, generate_audio=1, duration=1) == 2_000_000


def test_estimate__matches_every_dimension() -> None:
    rule = variants(
        ({"resolution": "720p", "generate_audio": True}, 2),
        ({"resolution": "720p", "generate_audio": False}, 1),
        ({"resolution": "1080p", "generate_audio": False}, 3),
        ({"resolution": "1080p", "generate_audio": True}, 4),
    )
    assert cost(rule, resolution="1080p", generate_audio=False, duration=1) == 3_000_000


def test_estimate__no_match_assumes_the_dearest_and_says_so() -> None:
    for effective_input in ({"duration": 2}, {"duration": 2, "resolution": "4k"}):
        found = estimate(rule_from_json(RESOLUTIONS), effective_input)
        assert (found.micros, found.basis) == (1_800_000, "price_list")
        assert found.assumption is not None
        assert "dearest" in found.assumption


def test_estimate__no_match_rules_out_what_the_input_contradicts() -> None:
    rule = variants(
        ({"resolution": "720p", "audio": False}, 1),
        ({"resolution": "720p", "audio": True}, 2),
        ({"resolution": "1080p", "audio": True}, 9),
    )
    assert cost(rule, resolution="720p", duration=1) == 2_000_000


def test_estimate__variant_without_conditions_is_the_fallback() -> None:
    rule = variants(({}, 9), ({"resolution": "720p"}, 1))
    assert cost(rule, resolution="720p", duration=1) == 1_000_000
    assert cost(rule, resolution="1080p", duration=1) == 9_000_000


def test_estimate__two_equal_matches_take_the_dearer() -> None:
    rule = variants(({"resolution": "720p"}, 1), ({"resolution": "720P"}, 2))
    assert cost(rule, resolution="720p", duration=1) == 2_000_000


def test_estimate__dearest_is_unknown_if_any_candidate_is() -> None:
    rule = variants(({"resolution": "720p"}, 1), ({"resolution": "1080p"}, 2))
    rule["variants"][0]["unit"] = "token"
    assert cost(rule, duration=1) is None
    assert cost(rule, resolution="1080p", duration=1) == 2_000_000


# Reading and writing rules


@pytest.mark.parametrize(
    "rule",
    [
        None,
        [],
        {},
        {"kind": "free"},
        {"kind": ["fixed"]},
        {"kind": "fixed"},
        {"kind": "fixed", "units": []},
        {"kind": "fixed", "units": ["x"]},
        {"kind": "fixed", "units": [{"measure": "second", "per": 1}]},
        {"kind": "fixed", "units": [{"price": 1, "per": 1}]},
        fixed(-1),
        fixed(1, per=0),
        fixed("much"),
        fixed("1e12"),
        fixed(float("nan")),
        fixed(True),
        {**fixed(1), "currency": "EUR"},
        {"kind": "variants", "variants": [{"when": {"resolution": ["720p"]}, "price": 1, "unit": "second", "per": 1}]},
        {"kind": "variants", "variants": [{"when": "720p", "price": 1, "unit": "second", "per": 1}]},
    ],
)
def test_rule_from_json__refuses_what_it_cannot_read(rule: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        rule_from_json(rule)


@pytest.mark.parametrize(
    "rule",
    [
        FixedPrice((Price(Decimal("0.1"), "second", Decimal(3)), Price(Decimal("1e-7"), "video"))),
        VariantPrice(
            (Variant((("resolution", "720p"), ("audio", True), ("fps", 25)), Price(Decimal("0.65"), "second")),)
        ),
        VariablePrice(),
    ],
)
def test_rule_from_json__reads_what_to_json_wrote(rule: Any) -> None:
    assert rule_from_json(json.loads(json.dumps(rule.to_json()))) == rule


# Properties


@given(prices, pers, durations)
def test_estimate__is_the_least_integer_not_below_the_price(price: Decimal, per: int, duration: int) -> None:
    exact = Fraction(price) * duration / per * 1_000_000
    micros = cost(fixed(str(price), per=per), duration=duration)
    assert micros is not None
    assert micros >= 0
    assert 0 <= micros - exact < 1


@given(prices, pers, durations, durations)
def test_estimate__grows_with_the_duration(price: Decimal, per: int, one: int, other: int) -> None:
    assume(one <= other)
    shorter, longer = (cost(fixed(str(price), per=per), duration=duration) for duration in (one, other))
    assert shorter is not None
    assert longer is not None
    assert shorter <= longer


@given(st.lists(prices, min_size=1, max_size=5), st.text(max_size=8), durations)
def test_estimate__of_variants_is_never_above_the_dearest(listed: list[Decimal], wanted: str, duration: int) -> None:
    rule = variants(*(({"resolution": f"{number}p"}, str(price)) for number, price in enumerate(listed)))
    micros = cost(rule, resolution=wanted, duration=duration)
    assert micros is not None
    assert 0 <= micros <= max(listed) * duration * 1_000_000 + 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(["fixed", "variants"]), json_values, json_values, json_values, json_values, json_values)
def test_rule_from_json__meets_anything_with_a_rule_or_a_value_error(
    kind: str, price: Any, per: Any, unit: Any, when: Any, duration: Any
) -> None:
    row = {"price": price, "per": per, "unit": unit, "when": when}
    try:
        rule = rule_from_json({"kind": kind, "units": [row], "variants": [row]})
    except ValueError:
        return
    micros = estimate(rule, {"duration": duration}).micros
    assert micros is None or 0 <= micros <= 10**15
