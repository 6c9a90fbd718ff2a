"""The account's movements: charges whole or not at all, pages to their end."""

from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain.transactions import by_generation
from app.upstream.transactions import read_transaction_page
from app.upstream.wire import Malformed

GOOD: dict[str, Any] = {
    "created_at": "2026-11-23T12:00:00.000Z",
    "direction": "CHARGE",
    "type": "MODEL_USAGE",
    "amount": {"usd": 2.5, "credits": 5_000_000},
    "model": "google/veo2/image-to-video",
    "reference_id": "g1",
}


def page(*rows: Any, **pagination: Any) -> dict[str, Any]:
    return {"data": list(rows), "pagination": {"next_cursor": None, "has_more": False} | pagination}


def test_read__a_charge() -> None:
    found = read_transaction_page(page(GOOD))
    [charge] = found.charges
    assert (charge.generation_id, charge.micros, found.next_cursor) == ("g1", 2_500_000, None)
    assert charge.created_at == datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_read__leaves_out_what_is_no_charge() -> None:
    assert read_transaction_page(page(GOOD | {"type": "PAYMENT", "reference_id": None})).charges == []


@pytest.mark.parametrize(
    ("amount", "micros"),
    [
        ({"usd": 2.5, "credits": -5_000_000}, -2_500_000),
        ({"usd": 2.5}, 2_500_000),
        ({"usd": -2.5, "credits": None}, -2_500_000),
        ({"credits": 1}, 1),
    ],
)
def test_read__amounts_with_their_sign(amount: Any, micros: int) -> None:
    [charge] = read_transaction_page(page(GOOD | {"amount": amount})).charges
    assert charge.micros == micros


@pytest.mark.parametrize(
    "odd",
    [{"reference_id": None}, {"reference_id": ""}, {"amount": None}, {"amount": {}}, {"created_at": None}],
)
def test_read__a_charge_that_cannot_be_read_is_named_apart(odd: dict[str, Any]) -> None:
    """Left out it would look like one that is not there, and a charge of ours would be taken back."""
    found = read_transaction_page(page(GOOD, GOOD | odd))
    assert (len(found.charges), found.unreadable) == (1, [(GOOD | odd)["reference_id"] or None])


@pytest.mark.parametrize(
    "document",
    [None, [], {}, {"data": []}, {"data": {}, "pagination": {"has_more": False}}, page("x"), page(has_more=None)],
)
def test_read__what_is_no_page(document: Any) -> None:
    with pytest.raises(Malformed):
        read_transaction_page(document)


@pytest.mark.parametrize("cursor", [None, "", 3, "x" * 5000])
def test_read__a_page_that_goes_on_says_where(cursor: Any) -> None:
    with pytest.raises(Malformed):
        read_transaction_page(page(GOOD, has_more=True, next_cursor=cursor))
    assert read_transaction_page(page(GOOD, has_more=True, next_cursor="abc")).next_cursor == "abc"


def test_by_generation__adds_up_what_one_was_charged_in_parts() -> None:
    charges = read_transaction_page(page(GOOD, GOOD, GOOD | {"reference_id": "g2"})).charges
    assert {name: charge.micros for name, charge in by_generation(charges).items()} == {
        "g1": 5_000_000,
        "g2": 2_500_000,
    }


@pytest.mark.parametrize("sign", [1, -1], ids=["charges-positive", "charges-negative"])
@pytest.mark.parametrize("direction", ["CHARGE", "TOPUP"])
def test_by_generation__takes_off_what_went_back(sign: int, direction: str) -> None:
    """With the other sign, or said to go the other way."""
    paid = GOOD | {"amount": {"credits": sign * 5_000_000}}
    back = paid | {"direction": direction, "amount": {"credits": -sign * 1_000_000}}
    charges = read_transaction_page(page(paid, back)).charges
    assert by_generation(charges)["g1"].micros == 2_000_000


def test_by_generation__what_is_said_to_go_back_does_so_whatever_its_sign() -> None:
    back = GOOD | {"direction": "TOPUP"}
    charges = read_transaction_page(page(GOOD, back, GOOD | {"reference_id": "g2"})).charges
    assert {name: charge.micros for name, charge in by_generation(charges).items()} == {"g1": 0, "g2": 2_500_000}


def test_by_generation__a_refund_alone_says_nothing_of_its_charge() -> None:
    back = GOOD | {"amount": {"credits": -1_000_000}}
    charges = read_transaction_page(page(back, GOOD | {"reference_id": "g2"})).charges
    assert set(by_generation(charges)) == {"g2"}
