"""A few seconds of each further part of `make torture`: what they find broken in a minute, these may find at once."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import Databases
from torture import client, fencing, stopping, wire

SEED = 4
SECONDS: dict[Any, float] = {stopping: 0, fencing: 1, wire: 1, client: 2}
FAULTS: dict[Any, int] = {stopping: 4, fencing: 3, wire: 100, client: 40}


@pytest.mark.parametrize("parts", [(stopping,), (wire,), (fencing, client)], ids=["stopping", "wire", "fencing-client"])
def test_part__holds_its_promises(parts: tuple[Any, ...], tmp_path: Path, postgres_server: Databases) -> None:
    """Fencing mostly waits for what is locked: another part has the time meanwhile."""
    with ThreadPoolExecutor() as beside:
        runs = {
            part: beside.submit(partial(part.run, tmp_path, seed=SEED, seconds=SECONDS[part], server=postgres_server))
            for part in parts
        }
    for part, run in runs.items():
        assert run.result().broken == []
        assert run.result().counts["faults"] >= FAULTS[part]
