"""How much is measured: of everything, little enough for a coffee; of what is named, enough to trust a median."""

from dataclasses import dataclass
from typing import Literal, get_args

Loader = Literal["wrk", "python"]
Kind = Literal["SQLite", "Postgres"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`rounds` of `seconds` each, over `connections` at once; claims among `rows` rows and among a fifth of them."""

    loader: Loader
    rounds: int
    seconds: float
    connections: int = 64
    listeners: int = 1_000
    flights: int = 10_000
    lasting: float = 45.0
    """Seconds, in the middle, that a watched generation takes."""
    kinds: tuple[Kind, ...] = KINDS
    rows: int
    seeding_seconds: float = 75.0
    """Filling the large tables ends here; with fewer rows than asked, if the machine is slow."""


NAMED: dict[str, float] = {"rounds": 5, "seconds": 2, "rows": 5_000_000}
ALL: dict[str, float] = {"rounds": 3, "seconds": 1, "rows": 1_000_000}
