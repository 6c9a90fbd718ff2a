"""How much memory a process takes, as Linux tells it."""

from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
KIB_IN_MIB = 1024


@dataclass(frozen=True, slots=True)
class Weight:
    """In MiB. PSS counts a page that several processes share in parts; RSS counts it for each of them."""

    rss: float
    pss: float


def can_be_weighed() -> bool:
    return (PROC / "self" / "smaps_rollup").exists()


def of(pid: int) -> Weight:
    """Return the weight of one process."""
    found = {}
    for line in (PROC / str(pid) / "smaps_rollup").read_text("ascii").splitlines()[1:]:
        name, _, value = line.partition(":")
        found[name] = int(value.split()[0]) / KIB_IN_MIB
    return Weight(found["Rss"], found["Pss"])


def of_children(pid: int) -> Weight:
    """Return the weight of all processes that this one started and that live."""
    weights = [of(child) for child in _children(pid)]
    return Weight(sum(weight.rss for weight in weights), sum(weight.pss for weight in weights))


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for listed in (PROC / str(pid) / "task").glob("*/children"):
        found += map(int, listed.read_text("ascii").split())
    return found
