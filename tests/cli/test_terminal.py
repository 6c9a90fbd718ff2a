"""On a terminal: bars, and what Ctrl-C asks. Seen through a pseudo-terminal, as a person would."""

import fcntl
import os
import pty
import re
import select
import struct
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.acceptance.processes import clean_environment
from tests.cli.conftest import SLOW, Served
from tests.forks import Forked

Made = Callable[..., str]
CTRL_C = b"\x03"


class Terminal:
    """A program on a terminal, what it wrote so far, and a keyboard."""

    def __init__(self, *arguments: str, environment: dict[str, str], folder: Path, columns: int) -> None:
        self._screen, keyboard = pty.openpty()
        fcntl.ioctl(keyboard, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.process = Forked(
            "app.cli",
            *arguments,
            environment=environment | {"TERM": "xterm-256color"},
            folder=folder,
            stdin=keyboard,
            stdout=keyboard,
            stderr=keyboard,
            terminal=True,
        )
        os.close(keyboard)
        self.written = ""

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 30
        while text not in self.plain:
            assert time.monotonic() < deadline, self.plain
            self._read()

    def press(self, keys: bytes) -> None:
        os.write(self._screen, keys)

    def end(self) -> int:
        """Read to the end; return the exit code."""
        deadline = time.monotonic() + 30
        with suppress(EOFError):
            while True:
                assert time.monotonic() < deadline, self.plain
                self._read()
        return self.process.wait(timeout=30)

    def _read(self) -> None:
        readable, _, _ = select.select([self._screen], [], [], 30)
        assert readable, f"nothing came for 30 seconds after:\n{self.plain}"
        try:
            data = os.read(self._screen, 65536)
        except OSError:  # Linux's way to say that the program has ended
            data = b""
        if not data:
            raise EOFError(self.plain)
        self.written += data.decode("utf-8", "replace")

    @property
    def plain(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.written)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._screen)


@contextmanager
def terminal(served: Served, folder: Path, *arguments: str, columns: int = 120) -> Iterator[Terminal]:
    environment = clean_environment({key: served.environment[key] for key in ("REELAY_URL", "REELAY_KEY")})
    environment.pop("COLUMNS", None)  # the terminal itself says how wide it is
    opened = Terminal(*arguments, environment=environment, folder=folder, columns=columns)
    try:
        yield opened
    finally:
        opened.close()


def newest(served: Served) -> dict[str, str]:
    with served.client() as client:
        found: dict[str, str] = client.get("/v1/jobs?limit=1").json()["data"][0]
        return found


def test_generate__shows_a_bar_and_then_the_result(served: Served, folder: Path) -> None:
    with terminal(served, folder, "generate", "cat.jpg", "-p", "A cat [[fault:slow=5]]") as shown:
        assert shown.end() == 0
        assert "━" in shown.plain and "generating" in shown.plain
        assert re.search(r"✓ cat\.mp4  \d+x\d+, \d+ s, \d+\.\d MB, 2\.50 USD", shown.plain)
    assert (folder / "cat.mp4").exists()


def test_interrupt__yes_cancels(served: Served, folder: Path) -> None:
    with terminal(served, folder, "generate", "cat.jpg", "-p", SLOW) as shown:
        shown.wait_for("generating")
        shown.press(CTRL_C)
        shown.wait_for("Cancel the job?")
        shown.press(b"y\n")
        assert shown.end() == 3
        assert "It was canceled." in shown.plain
    assert newest(served)["status"] == "canceled"
    assert not (folder / "cat.mp4").exists()


def test_interrupt__no_leaves_the_jobs_running(served: Served, folder: Path) -> None:
    with terminal(served, folder, "generate", "cat.jpg", "dog.png", "-p", SLOW) as shown:
        shown.wait_for("generating")
        shown.press(CTRL_C)
        shown.wait_for("Cancel 2 jobs?")
        shown.press(b"n\n")
        assert shown.end() == 130
        [ids] = re.findall(r"reelay jobs download ((?:job_[0-9a-f]{32} ?){2})", shown.plain)
    with served.client() as client:
        for id_ in ids.split():
            assert client.get(f"/v1/jobs/{id_}").json()["status"] == "in_progress"
            client.post(f"/v1/jobs/{id_}/cancel")


def test_interrupt__a_watch_never_cancels(served: Served, folder: Path) -> None:
    with served.client() as client:
        body = {"model": "veo2", "input": {"prompt": SLOW}}
        id_ = client.post("/v1/jobs", json=body).json()["id"]
        with terminal(served, folder, "jobs", "watch", id_) as shown:
            shown.wait_for("generating")
            shown.press(CTRL_C)
            assert shown.end() == 130
            assert f"reelay jobs download {id_}" in shown.plain and "Cancel" not in shown.plain
        assert client.get(f"/v1/jobs/{id_}").json()["status"] == "in_progress"
        client.post(f"/v1/jobs/{id_}/cancel")


def test_list__has_a_heading_on_a_terminal(served: Served, folder: Path, made: Made) -> None:
    id_ = made()
    with terminal(served, folder, "jobs", "list", "--limit", "1") as shown:  # others may need more room
        assert shown.end() == 0
        assert re.search(r"ID +STATUS +DONE +MODEL +CREATED +COST", shown.plain)
        assert re.search(rf"{id_} +succeeded +100 % +veo2", shown.plain)


def test_list__leaves_columns_out_where_there_is_no_room(served: Served, folder: Path, made: Made) -> None:
    id_ = made()
    with terminal(served, folder, "jobs", "list", columns=80) as shown:
        assert shown.end() == 0
        assert "MODEL" not in shown.plain
        assert re.search(rf"{id_} +succeeded .* s ago +2\.50 USD", shown.plain)
