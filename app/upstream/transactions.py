"""The account's ledger at the upstream: one page of its movements in, the charges among them out."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.domain.money import credits_to_micros, usd_to_micros
from app.domain.text import storable
from app.domain.transactions import Charge
from app.upstream.wire import Malformed, usable_id, whole_credits

PAGE_ROWS = 100
"""The most that one request may ask for, as documented."""
USAGE = "MODEL_USAGE"
_LONGEST_MODEL = 200
_LONGEST_CURSOR = 4096


@dataclass(frozen=True, slots=True)
class TransactionPage:
    """The charges of one page, and where the next one begins, if there is one."""

    charges: list[Charge]
    next_cursor: str | None


def read_transaction_page(document: Any) -> TransactionPage:
    """Read one answer of `GET /v2/billing/transactions`; raise Malformed for what is no page of rows, whole."""
    rows = document.get("data") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Malformed("The transactions have no rows.")
    pagination = document.get("pagination")
    more = pagination.get("has_more") if isinstance(pagination, dict) else None
    if not isinstance(more, bool):
        raise Malformed("The transactions do not say whether they go on.")
    cursor = pagination.get("next_cursor") if more else None
    if more and not (isinstance(cursor, str) and 0 < len(cursor) <= _LONGEST_CURSOR):
        raise Malformed("The transactions go on without saying where.")
    return TransactionPage([_charge(row) for row in rows if row.get("type") == USAGE], cursor)


def _charge(row: dict[str, Any]) -> Charge:
    reference = usable_id(row.get("reference_id"))
    micros = _micros(row.get("amount"))
    model = row.get("model")
    if reference is None or micros is None:
        # A charge that cannot be read would look like one that is not there.
        raise Malformed("A transaction names no generation or no amount.")
    return Charge(
        generation_id=reference,
        micros=micros,
        model=model[:_LONGEST_MODEL] if isinstance(model, str) and storable(model) else "",
        created_at=_moment(row.get("created_at")),
    )


def _micros(amount: Any) -> int | None:
    """Return the charge, however its sign is written: its type says which way it goes."""
    if not isinstance(amount, dict):
        return None
    stated = amount.get("credits")
    credits_used = whole_credits(abs(stated) if isinstance(stated, int | float) else stated)
    if credits_used is not None:
        return credits_to_micros(credits_used)
    try:
        return abs(usd_to_micros(amount.get("usd")))  # type: ignore[arg-type]  # what is no number raises
    except ValueError:
        return None


def _moment(text: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise Malformed("A transaction has no time.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
