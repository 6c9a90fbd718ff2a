"""How much is measured: enough to trust a median, little enough for a coffee."""

from dataclasses import dataclass
from typing import Literal

Loader = Literal["wrk", "python"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`rounds` of `seconds` each, over `connections` at once; claims among `rows` rows and among a fifth of them."""

    loader: Loader
    rounds: int = 5
    seconds: int = 2
    connections: int = 64
    rows: int = 5_000_000
    seeding_seconds: float = 90.0
    """Filling the large tables ends here; with fewer rows than asked, if the machine is slow."""
