"""S3 for the tests: moto's server as a process of its own, behind a door that a test can shut.

with S3Server() as s3:
    s3.environment  # what Reelay needs to find it
    s3.shut(); s3.open()  # an outage, and its end; the objects are still there
"""

import select
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

import httpx2

from tests.tcp import free_port

BUCKET = "films"
SECRET = "aws-secret-that-nobody-may-see"
READY = "Running on "


class Door:
    """A port on loopback that passes bytes on to `target` while it is open; shut, it refuses."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._open: set[socket.socket] = set()
        self.port = free_port()
        self.open()

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self._guard = threading.Thread(target=self._admit, args=(self._listener,))
        self._guard.start()

    def shut(self) -> None:
        """Refuse whoever comes, and cut off who is inside."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._guard.join()
        self._listener.close()
        for end in list(self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _admit(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                visitor, _ = listener.accept()
                threading.Thread(target=self._pass_on, args=(visitor,), daemon=True).start()

    def _pass_on(self, visitor: socket.socket) -> None:
        with visitor, socket.create_connection(self._target) as inside, suppress(OSError):
            ends = {visitor: inside, inside: visitor}
            self._open |= set(ends)
            try:
                while True:
                    for ready in select.select(list(ends), [], [])[0]:
                        if not (data := ready.recv(1 << 16)):
                            return
                        ends[ready].sendall(data)
            finally:
                self._open -= set(ends)


class S3Server:
    """Starts with one empty bucket."""

    url = f"s3://{BUCKET}/some/prefix"

    def __enter__(self) -> Self:
        command = [sys.executable, "-u", "-m", "moto.server", "--host", "127.0.0.1", "--port", "0"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdout is not None
        said = next((line for line in self._process.stdout if READY in line), "")
        assert said, "moto's server did not start"
        # It goes on to write a line for every request: read them, or it stands still once the pipe is full.
        self._reader = threading.Thread(target=self._process.stdout.read)
        self._reader.start()
        self.direct = said.partition(READY)[2].strip()
        self._door = Door(("127.0.0.1", urlsplit(self.direct).port or 0))
        httpx2.put(f"{self.direct}/{BUCKET}").raise_for_status()
        return self

    def __exit__(self, *_: object) -> None:
        self._door.shut()
        self._process.terminate()
        self._process.wait(timeout=30)
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def origin(self) -> str:
        """Where it is reached from outside."""
        return f"http://127.0.0.1:{self._door.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which obstore finds it."""
        return {
            "AWS_ENDPOINT_URL": self.origin,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }

    def shut(self) -> None:
        """The outage begins."""
        self._door.shut()

    def open(self) -> None:
        """The outage is over."""
        self._door.open()

    def object_names(self) -> list[str]:
        """Return what the bucket holds."""
        listed = httpx2.get(f"{self.direct}/{BUCKET}?list-type=2").raise_for_status().text
        return [part.partition("</Key>")[0] for part in listed.split("<Key>")[1:]]
