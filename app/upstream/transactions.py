"""The account's ledger at the upstream: one page of its movements in, the charges among them out."""

from dataclasses import dataclass, field
from typing import Any

from app.domain.money import credits_to_micros, usd_to_micros
from app.domain.transactions import Charge
from app.upstream.wire import Malformed, model_name, moment, read_page, usable_id, whole_credits

PAGE_ROWS = 100
"""The most that one request may ask for, as documented."""
USAGE = "MODEL_USAGE"
BACK = "TOPUP"
"""The direction of what the account gets; charges have the other."""
_LONGEST_CURSOR = 4096


@dataclass(frozen=True, slots=True)
class TransactionPage:
    """The charges of one page, and where the next one begins, if there is one."""

    charges: list[Charge]
    next_cursor: str | None
    unreadable: list[str | None] = field(default_factory=list)
    """The generations of the charges that could not be read; None for one that names none.

    They are kept apart: a charge that is left out would look like one that is not there.
    """


def read_transaction_page(document: Any) -> TransactionPage:
    """Read one answer of `GET /v2/billing/transactions`; raise Malformed for what is no page of rows."""
    rows, pagination = read_page(document, of="The account's ledger")
    cursor = pagination.get("next_cursor") if pagination["has_more"] else None
    if pagination["has_more"] and not (isinstance(cursor, str) and 0 < len(cursor) <= _LONGEST_CURSOR):
        raise Malformed("The account's ledger goes on without saying where.")
    usage = [(row, _charge(row)) for row in rows if row.get("type") == USAGE]
    unreadable = [usable_id(row.get("reference_id")) for row, charge in usage if charge is None]
    return TransactionPage([charge for _, charge in usage if charge is not None], cursor, unreadable)


def _charge(row: dict[str, Any]) -> Charge | None:
    """Read one movement; None if its generation, its amount or its time cannot be told."""
    reference = usable_id(row.get("reference_id"))
    micros = _micros(row.get("amount"))
    created_at = moment(row.get("created_at"))
    if reference is None or micros is None or created_at is None:
        return None
    return Charge(
        generation_id=reference,
        micros=micros,
        model=model_name(row.get("model")),
        created_at=created_at,
        is_refund=row.get("direction") == BACK,
    )


def _micros(amount: Any) -> int | None:
    """Return the amount with the sign that it has, its size rounded up."""
    if not isinstance(amount, dict):
        return None
    stated = amount.get("credits")
    credits_used = whole_credits(abs(stated) if isinstance(stated, int | float) else stated)
    if credits_used is not None:
        micros = credits_to_micros(credits_used)
        return -micros if isinstance(stated, int | float) and stated < 0 else micros
    try:
        return usd_to_micros(amount.get("usd"))  # type: ignore[arg-type]  # what is no number raises
    except ValueError:
        return None
