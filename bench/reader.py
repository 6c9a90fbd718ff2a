"""Who downloads: over one kept connection as fast as it comes, or many at once who take their time."""

import socket
import time
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

PIECE = 1 << 20
PATIENCE_SECONDS = 30
SMALL_BUFFER = 64 << 10


class Reader:
    """One connection that asks for the same thing again and again. What it reads it forgets."""

    def __init__(self, base: str, request: bytes) -> None:
        self._socket = socket.create_connection(("127.0.0.1", urlsplit(base).port or 80), timeout=PATIENCE_SECONDS)
        self._request = request
        self._piece = bytearray(PIECE)

    def close(self) -> None:
        self._socket.close()

    def rate(self, *, seconds: float) -> float:
        """Read for that long; return the bytes of bodies that came in a second."""
        began, read = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            read += self.once()
        return read / (time.perf_counter() - began)

    def once(self) -> int:
        """Ask, read the whole answer, and return how long its body was."""
        self._socket.sendall(self._request)
        came = self._socket.recv_into(self._piece)
        while (ended := self._piece.find(b"\r\n\r\n", 0, came)) < 0:
            came += self._more(memoryview(self._piece)[came:])
        head = bytes(self._piece[:ended])
        if head[9:12] not in (b"200", b"206"):
            raise RuntimeError(f"no content: {head[:200]!r}")
        length = left = _content_length(head)
        left -= came - ended - 4
        whole = memoryview(self._piece)
        while left:
            left -= self._more(whole[: min(left, PIECE)])
        return length

    def _more(self, into: memoryview) -> int:
        came = self._socket.recv_into(into)
        if not came:
            raise RuntimeError("the connection ended within an answer")
        return came


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise RuntimeError(f"an answer of unknown length: {head[:500]!r}")


class Crowd:
    """Readers who take a little at a time, through a small buffer, so that most of what they want waits for them."""

    def __init__(self, base: str, request: bytes, *, count: int) -> None:
        self._stack = ExitStack()
        self._sockets: list[socket.socket] = []
        for _ in range(count):
            reader = self._stack.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
            reader.connect(("127.0.0.1", urlsplit(base).port or 80))
            reader.sendall(request)
            reader.setblocking(False)
            self._sockets.append(reader)
        self.served = set[socket.socket]()
        """Those that have got something."""

    def __enter__(self) -> "Crowd":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def sip(self) -> None:
        """Let each take a little of what came."""
        self.served.update(filter(_sip, self._sockets))


def _sip(reader: socket.socket) -> bool:
    with suppress(BlockingIOError):
        return len(reader.recv(SMALL_BUFFER // 8)) > 0
    return False
