"""The sandbox upstream as a child process, so that making videos never slows the service down."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from app.domain.errors import SettingsError

SANDBOX_KEY = "sandbox-key"
SANDBOX_MEDIAN_SECONDS = 45.0
"""How long its generations take at speed 1, as the real ones do."""
ANNOUNCEMENT = "sandbox listening on "
UPSTREAM_KEYS = ("REELAY_UPSTREAM_API_KEY", "AIML_API_KEY")


def without_upstream_keys(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what a simulation must never see."""
    return {name: value for name, value in environment.items() if not name.startswith(UPSTREAM_KEYS)}


class ChildSandbox:
    """Starts the sandbox on a free loopback port; it ends with this process, however that dies."""

    def __init__(self, data_dir: Path, *, speed: float) -> None:
        self._command = [sys.executable, "-m", "app.sandbox", "--port", "0", "--exit-with-parent"]
        self._command += ["--data-dir", str(data_dir), "--speed", str(speed), "--key", SANDBOX_KEY]

    def __enter__(self) -> "ChildSandbox":
        # Its standard input is our pipe: when we die, it reads the end and goes too.
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=without_upstream_keys(os.environ),
            start_new_session=True,
        )
        return self

    def url(self) -> str:
        """Wait until it listens and return where; raise SettingsError if it does not."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line.startswith(ANNOUNCEMENT):
            raise SettingsError(f"The sandbox did not start: {line or 'see its message above'}")
        return line.removeprefix(ANNOUNCEMENT)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
