"""What was measured: medians over rounds, ratios within each round, and whether a goal was met."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

HEADINGS = ("", "median", "lowest to highest", "ratio", "goal", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A bound on the ratio, or on the median itself."""

    of: Literal["ratio", "median"]
    at: Literal["least", "most"]
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table. Each sample is of one round; `beside` has what the other side gave in the same."""

    name: str
    unit: str
    samples: Sequence[float]
    beside: Sequence[float] = ()
    goal: Goal | None = None
    note: str = ""

    @property
    def median(self) -> float:
        return median(self.samples)

    @property
    def ratio(self) -> float | None:
        """The median of the rounds' ratios: what slows the machine for a while slows both sides."""
        if not self.beside:
            return None
        return median(ours / theirs for ours, theirs in zip(self.samples, self.beside, strict=True))

    @property
    def met(self) -> bool | None:
        """Whether the goal was met; None without one."""
        if self.goal is None:
            return None
        value = self.ratio if self.goal.of == "ratio" else self.median
        assert value is not None
        return value >= self.goal.limit if self.goal.at == "least" else value <= self.goal.limit

    def as_dict(self) -> dict[str, Any]:
        goal = None if self.goal is None else {"of": self.goal.of, f"at_{self.goal.at}": self.goal.limit}
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "samples": list(self.samples),
            "beside": list(self.beside),
            "ratio": self.ratio,
            "goal": goal,
            "met": self.met,
            "note": self.note,
        }

    def cells(self) -> tuple[str, ...]:
        spread = f"{_shown(min(self.samples))} to {_shown(max(self.samples))}" if len(self.samples) > 1 else ""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return self.name, f"{_shown(self.median)} {self.unit}", spread, ratio, self._judged(), self.note

    def _judged(self) -> str:
        if self.goal is None:
            return ""
        sign = ">=" if self.goal.at == "least" else "<="
        return f"{sign} {self.goal.limit:g}: {'met' if self.met else 'MISSED'}"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(figures: Iterable[Figure]) -> str:
    """Return the figures as aligned columns of plain text."""
    rows = [HEADINGS, *(figure.cells() for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def save(path: Path, figures: dict[str, list[Figure]], *, about: dict[str, Any]) -> None:
    """Write everything that was measured, round by round, as JSON."""
    measured = {name: [figure.as_dict() for figure in found] for name, found in figures.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(about | {"figures": measured}, indent=2) + "\n", "utf-8")
