"""How one sandbox behaves: every choice the upstream's documentation leaves open, and every limit, as a field."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from app.sandbox.faults import Odds

Render = Literal["full", "tiny"]
CreditsReported = Literal["submit", "end", "both", "never"]
IdForm = Literal["by-model", "uuid", "uuid-model", "number", "nanoid"]
IdField = Literal["by-model", "id", "generation_id"]


@dataclass(frozen=True)
class SandboxConfig:
    """Settings of one sandbox; everything but the folder has a default that follows the upstream's documentation."""

    data_dir: Path
    keys: tuple[str, ...] = ("sandbox-key",)
    speed: float = 1.0
    """Generations take this many times less time."""
    median_seconds: float = 45.0
    p90_seconds: float = 50.0
    """With the median: the lognormal distribution of veo2's durations; other models scale it."""
    render: Render = "full"
    """`tiny`: every video is the same small, real MP4, so that thousands of jobs cost no CPU."""
    max_in_flight: int = 50
    log_lag_seconds: float = 0.0
    log_requests_per_minute: int = 200
    url_seconds: float = 24 * 3600
    """How long a result URL stays valid."""
    credits_reported: CreditsReported = "both"
    cost_headers: bool = True
    """Submit answers carry `x-aimlapi-credits-used` and `x-aimlapi-usd-spent`."""
    id_form: IdForm = "by-model"
    id_field: IdField = "by-model"
    balance_usd: float = 1_000_000.0
    """What the account holds when the data folder is new."""
    faults: Mapping[str, Odds] = field(default_factory=dict)
    seed: int | None = None
    """Makes durations and the drawing of faults repeatable. Ids are always fresh."""
    hang_seconds: float = 600.0
    """How long a hanging answer hangs when the fault names no time."""
    max_body_bytes: int = 64 * 1024 * 1024
    public_url: str | None = None
    """Where result URLs point; by default wherever the poll was sent."""
    clock: Callable[[], float] = time.time
