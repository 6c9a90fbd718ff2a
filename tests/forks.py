"""Processes that begin at once: forked from one that has everything imported already.

Each is a process as `python -m MODULE` starts it, with its own arguments, environment, folder and standard streams, to
be signalled, killed and waited for. Only the second that Python takes to load the program is saved, which is most of
what a short command costs.
"""

import atexit
import fcntl
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn, Self

from tests import authorities, canary

ROOT = Path(__file__).parents[1]
DEVNULL = subprocess.DEVNULL


class Forked:
    """One such process, with the parts of `subprocess.Popen` that tests need."""

    def __init__(
        self,
        module: str,
        *arguments: str,
        environment: Mapping[str, str],
        folder: Path | None = None,
        stdin: int = DEVNULL,
        stdout: int | IO[Any],
        stderr: int | IO[Any],
        session: bool = False,
        terminal: bool = False,
    ) -> None:
        self.args = [module, *arguments]
        self.returncode: int | None = None
        order = {
            "module": module,
            "arguments": arguments,
            "environment": dict(environment),
            "folder": str(folder or Path.cwd()),
            "session": session or terminal,
            "terminal": terminal,
        }
        nothing = os.open(os.devnull, os.O_RDWR)
        self._told, telling = os.pipe()
        given = [stream if isinstance(stream, int) else stream.fileno() for stream in (stdin, stdout, stderr)]
        streams = [nothing if number == DEVNULL else number for number in given]
        try:
            nursery().send(json.dumps(order).encode(), [*streams, telling])
        finally:
            os.close(nothing)
            os.close(telling)
        self.pid = int(self._hear(None) or 0)
        assert self.pid, "the process that others are forked from has ended"

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status once it has ended."""
        status = self._look(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.wait()

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and (line := self._hear(timeout)) is not None:
            os.close(self._told)
            self.returncode = os.waitstatus_to_exitcode(int(line or signal.SIGKILL))
        return self.returncode

    def _hear(self, timeout: float | None) -> str | None:
        """Return the next line about it, "" if there comes no more, None if none came in time."""
        if not select.select([self._told], [], [], timeout)[0]:
            return None
        line = b""
        while not line.endswith(b"\n") and (byte := os.read(self._told, 1)):
            line += byte
        return line.decode().strip()


def run(
    module: str, *arguments: str, environment: Mapping[str, str], folder: Path | None = None, timeout: float = 60
) -> "subprocess.CompletedProcess[str]":
    """Run it to its end without a terminal; return what it printed."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given: dict[str, Any] = {"environment": environment, "folder": folder, "stdout": out, "stderr": err}
        with Forked(module, *arguments, **given) as process:
            status = process.wait(timeout)
        printed = []
        for file in (out, err):
            file.seek(0)
            printed.append(file.read().decode())
    canary.note_printed(process.args, printed)
    return subprocess.CompletedProcess(process.args, status, *printed)


class _Nursery:
    """Our end of the process that others are forked from."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.forks", str(theirs.fileno())],
                cwd=ROOT,
                env={name: value for name, value in os.environ.items() if not name.startswith(("REELAY_", "AIML_"))},
                stdin=DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        atexit.register(self.close)

    def send(self, order: bytes, streams: Sequence[int]) -> None:
        with self._one_at_a_time:
            socket.send_fds(self._socket, [len(order).to_bytes(4, "big")], streams)
            self._socket.sendall(order)

    def close(self) -> None:
        """End it, and with it whatever was forked from it."""
        self._socket.close()
        self._process.wait()


nursery = cache(_Nursery)


# --- within the process that others are forked from

PRELOADED = (
    *("app.cli.command", "app.main", "app.sandbox.server", "uvicorn", "uvloop", "anyio._backends._asyncio", "psycopg"),
    *("sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite"),
)


def _fork_as_ordered(orders: socket.socket) -> dict[str, Any] | None:
    """Fork for each order until there come no more, and tell how each child ends; in the child return its order."""
    running: dict[int, int] = {}  # each with the pipe on which its end is told
    waking, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready = select.select([orders, waking], [], [])[0]
        if waking in ready:
            os.read(waking, 4096)
        while running and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            _tell(running.pop(ended[0]), ended[1], last=True)
        if orders not in ready:
            continue
        size, streams, _, _ = socket.recv_fds(orders, 4, 4)
        if not size:
            for pid in running:
                os.kill(pid, signal.SIGKILL)
            return None
        order: dict[str, Any] = json.loads(orders.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
        if not (pid := os.fork()):
            signal.set_wakeup_fd(-1)
            orders.close()
            for number in (waking, wake, streams.pop(), *running.values()):
                os.close(number)
            return order | {"streams": streams}
        *streams, running[pid] = streams
        for number in streams:
            os.close(number)
        _tell(running[pid], pid)


def _tell(pipe: int, number: int, *, last: bool = False) -> None:
    with suppress(BrokenPipeError):  # nobody wants to know any more
        os.write(pipe, f"{number}\n".encode())
    if last:
        os.close(pipe)


def _become(order: dict[str, Any]) -> None:
    """Be the process that was ordered, as far as a program can tell."""
    if order["session"]:
        os.setsid()
    for number, stream in enumerate(order["streams"]):
        os.dup2(stream, number)
        os.close(stream)
    if order["terminal"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8")
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(io.BufferedWriter(io.FileIO(number, "w", closefd=False)), "utf-8", write_through=True)
        for number in (1, 2)
    )
    sys.argv = [order["module"], *order["arguments"]]
    try:
        runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
        _leave(0)
    except SystemExit as leaving:
        if isinstance(leaving.code, str):
            print(leaving.code, file=sys.stderr)
        _leave(leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None))
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001  # whatever it is, it is printed, and ends the process
        traceback.print_exc()
        _leave(1)


def _leave(status: int) -> NoReturn:
    """End as Python does, but leave it to the system to clear away: that saves half a second."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status)


def _main(number: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in PRELOADED:
        importlib.import_module(module)
    authorities.read_once()
    assert threading.active_count() == 1, "threads are lost when forking"
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=number) as orders:
        order = _fork_as_ordered(orders)
    if order is not None:
        _become(order)


if __name__ == "__main__":
    _main(int(sys.argv[1]))
