"""What the upstream's account says was charged, and how our ledger differs from it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

Finding = Literal["charge_differs", "not_on_account", "unknown_purchase", "nothing_to_compare", "sum_differs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What the account was charged for one generation."""

    generation_id: str
    micros: int
    model: str
    created_at: datetime


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


def by_generation(charges: Iterable[Charge]) -> dict[str, Charge]:
    """Return one charge for each generation: what it was charged in all."""
    found: dict[str, Charge] = {}
    for charge in charges:
        known = found.get(charge.generation_id)
        found[charge.generation_id] = replace(charge, micros=charge.micros + known.micros) if known else charge
    return found
