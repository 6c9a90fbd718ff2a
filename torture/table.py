"""What a part of the torture saw: its row of the table, and whatever broke."""

from collections import Counter
from dataclasses import dataclass, field

COLUMNS = ("cells", "kills", "stalls", "exceptions", "faults", "purchases", "duplicates", "lost")


@dataclass(slots=True)
class Part:
    """One part's figures. `broken` holds every invariant that did not hold, in words."""

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    cells: str = ""
    figures: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def require(self, holds: bool, sentence: str) -> None:
        """Note the sentence as broken unless it holds."""
        if not holds:
            self.broken.append(sentence)


def rendered(parts: list[Part]) -> str:
    """Return the table, the figures below it, and what broke."""
    rows = [["part", *COLUMNS, "seconds"]]
    for part in parts:
        counted = [part.cells or "-", *(str(part.counts[name]) for name in COLUMNS[1:])]
        rows.append([part.name, *counted, f"{part.seconds:.0f}"])
    sums = [str(sum(part.counts[name] for part in parts)) for name in COLUMNS[1:]]
    rows.append(["in all", "", *sums, f"{sum(part.seconds for part in parts):.0f}"])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"{part.name}: {figure}" for part in parts for figure in part.figures]
    lines += [f"BROKEN {part.name}: {sentence}" for part in parts for sentence in part.broken]
    return "\n".join(lines)


def percentile(values: list[float], share: float) -> float:
    """Return the nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 100) // 100) - 1)]
