"""Whoever ends `make torture`, and however: its victims end too."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.postgres import Databases
from tests.tortured import torture

WAYS_TO_END = [signal.SIGTERM, signal.SIGINT, *([signal.SIGKILL] if sys.platform == "linux" else [])]


@pytest.mark.parametrize("ending", WAYS_TO_END, ids=lambda ending: ending.name)
def test_torture__however_it_ends_no_victim_is_left(
    tmp_path: Path, ending: signal.Signals, postgres_server: Databases
) -> None:
    with torture(tmp_path, seconds=600, server=postgres_server) as process:
        await_first_lives(tmp_path)
        process.send_signal(ending)
        process.communicate(timeout=60)
        assert group_ends(process.pid)


def await_first_lives(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not any(b"begun" in trace.read_bytes() for trace in folder.glob("*/matrix/*/*.trace")):
        assert time.monotonic() < deadline, "no victim came to life"
        time.sleep(0.05)


def group_ends(group: int) -> bool:
    """Wait until no process of the group is left; False if some are still there after ten seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False
