"""A few seconds of each further part of `make torture`: what they find broken in a minute, these may find at once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.postgres import Databases
from torture import client, fencing, stopping, wire
from torture.table import Part

SEED = 4


@pytest.mark.parametrize(
    ("run", "seconds", "faults"),
    [(stopping.run, 0, 4), (fencing.run, 1, 3), (wire.run, 1, 100), (client.run, 2, 40)],
    ids=["stopping", "fencing", "wire", "client"],
)
def test_part__holds_its_promises(
    run: Callable[..., Part], seconds: float, faults: int, tmp_path: Path, postgres_server: Databases
) -> None:
    part = run(tmp_path, seed=SEED, seconds=seconds, server=postgres_server)
    assert part.broken == []
    assert part.counts["faults"] >= faults
