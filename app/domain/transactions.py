"""What the upstream's account says was charged, and how our ledger differs from it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

Finding = Literal[
    "charge_differs",
    "not_on_account",
    "nothing_to_compare",
    "sum_differs",
    "unknown_purchase",
    "unreadable_charge",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One movement of the account for a generation; or, once added up, what it was charged for it in all."""

    generation_id: str
    micros: int
    """As stated, with its sign: not every account writes what it takes as a positive number."""
    model: str
    created_at: datetime
    is_refund: bool = False
    """Stated to go back, whatever its sign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that our ledger and the account, or our ledger and itself, say differently.

    `booked` tells whether it has been put right: the account's word goes before ours.
    """

    finding: Finding
    about: str
    """A job, a generation, or a project's month."""
    ours_micros: int
    theirs_micros: int
    booked: bool


def by_generation(movements: Sequence[Charge]) -> dict[str, Charge]:
    """Return one charge for each generation: what it was charged in all, less what went back, with its last moment.

    An account takes more than it gives back, so the sum of all movements tells which sign a charge has. A generation
    of which only the refund is among them is left out: its charge is older, and unknown.
    """
    sign = -1 if sum(movement.micros for movement in movements if not movement.is_refund) < 0 else 1
    found: dict[str, Charge] = {}
    for movement in movements:
        micros = -abs(movement.micros) if movement.is_refund else sign * movement.micros
        known = found.get(movement.generation_id)
        found[movement.generation_id] = replace(
            movement,
            is_refund=False,
            micros=micros + (known.micros if known else 0),
            created_at=max(movement.created_at, known.created_at) if known else movement.created_at,
        )
    return {name: charge for name, charge in found.items() if charge.micros >= 0}
