"""The matrix of `make torture`, as a process that a test begins and ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.acceptance.processes import clean_environment
from tests.postgres import Databases

SEED = 20261125


@contextmanager
def torture(folder: Path, *, seconds: int, server: Databases) -> Iterator[subprocess.Popen[str]]:
    """Run the matrix in a process group of its own, with its files in `folder`; nothing of the group is left."""
    process = subprocess.Popen(
        [sys.executable, "-m", "torture", "--tied", "--only=matrix", f"--seconds={seconds}", f"--seed={SEED}"],
        env=clean_environment({"TMPDIR": str(folder), "TEST_DATABASE_URL": server.url}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
