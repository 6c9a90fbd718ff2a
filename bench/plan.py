"""How much is measured: enough to trust a median, little enough for a coffee."""

from dataclasses import dataclass
from typing import Literal, get_args

Loader = Literal["wrk", "python"]
Kind = Literal["SQLite", "Postgres"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`rounds` of `seconds` each, over `connections` at once; claims among `rows` rows and among a fifth of them."""

    loader: Loader
    rounds: int = 5
    seconds: float = 2
    connections: int = 64
    listeners: int = 1_000
    flights: int = 10_000
    lasting: float = 45.0
    """Seconds, in the middle, that a watched generation takes."""
    kinds: tuple[Kind, ...] = KINDS
    rows: int = 5_000_000
    seeding_seconds: float = 75.0
    """Filling the large tables ends here; with fewer rows than asked, if the machine is slow."""
