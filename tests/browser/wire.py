"""A wire between a page and Reelay that loses, cuts, holds back and disguises answers, as a test tells it."""

import select
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

PATIENCE_SECONDS = 60
BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

Trouble = Callable[[bytes], tuple[bytes, bool]]
"""Given a piece of an answer: what passes of it, and whether the connection goes on."""


class Asked(NamedTuple):
    """One request as it passed."""

    line: str
    headers: dict[str, str]


def lost(_: bytes) -> tuple[bytes, bool]:
    """The service has done what was asked, and nobody hears of it."""
    return b"", False


def bad_gateway(_: bytes) -> tuple[bytes, bool]:
    return BAD_GATEWAY, False


def held_back(_: bytes) -> tuple[bytes, bool]:
    """As a proxy does that gathers an answer until it is complete."""
    return b"", True


def disguised(piece: bytes) -> tuple[bytes, bool]:
    return piece.replace(b"text/event-stream", b"text/plain"), True


def hasty(piece: bytes) -> tuple[bytes, bool]:
    """A stream whose reader may come again soon."""
    return piece.replace(b"retry: 2000", b"retry: 0100"), True


def cut_after(words: bytes) -> Trouble:
    """Cut the connection a little after these words: within a frame, and within a chunk of HTTP."""

    def cut(piece: bytes) -> tuple[bytes, bool]:
        piece, _ = hasty(piece)
        at = piece.find(words)
        return (piece, True) if at == -1 else (piece[: at + len(words) + 3], False)

    return cut


def beheaded(piece: bytes) -> tuple[bytes, bool]:
    """Cut the connection after the answer's head, before anything of its body."""
    return piece[: piece.index(b"\r\n\r\n") + 4], False


def silent_after(words: bytes) -> Trouble:
    """Let nothing pass any more after the piece with these words, though the connection stands."""
    is_silent = False

    def fall_silent(piece: bytes) -> tuple[bytes, bool]:
        nonlocal is_silent
        passing = b"" if is_silent else hasty(piece)[0]
        is_silent = is_silent or words in piece
        return passing, True

    return fall_silent


class Wire:
    """Where a page finds the service, what passed, and what is to happen to the next answers."""

    def __init__(self, target: str, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.target = urlsplit(target)
        self.asked: list[Asked] = []
        self.answered: list[str] = []
        """The first lines of requests of whose answers something has passed."""
        self.open = 0
        self.troubles: list[tuple[str, Trouble]] = []
        """What requests it concerns, by the beginning of their first line; each is used once, in this order."""
        self._changed = threading.Condition()

    def passed(self, beginning: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.line.startswith(beginning)]

    def wait_open(self, count: int) -> None:
        """Wait until so many connections are open."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.open == count, PATIENCE_SECONDS), f"{self.open} are open"

    def wait_answered(self, beginning: str) -> None:
        """Wait until something of the answer to such a request has passed."""
        with self._changed:
            came = self._changed.wait_for(
                lambda: any(line.startswith(beginning) for line in self.answered), PATIENCE_SECONDS
            )
            assert came, f"no answer to {beginning} passed"

    def note_answer(self, line: str) -> None:
        with self._changed:
            self.answered.append(line)
            self._changed.notify_all()

    def count(self, by: int) -> None:
        with self._changed:
            self.open += by
            self._changed.notify_all()

    def trouble_for(self, asked: Asked) -> Trouble:
        self.asked.append(asked)
        for number, (beginning, trouble) in enumerate(self.troubles):
            if asked.line.startswith(beginning):
                del self.troubles[number]
                return trouble
        return hasty

    def carry(self, page: socket.socket) -> None:
        """Pass one request and its answer, until either side has enough."""
        received = _received(page)
        if received is None:
            return
        head, body = received
        line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
        trouble = self.trouble_for(Asked(line, headers))
        lines = [each for each in lines if not each.lower().startswith("connection:")]
        sent = "\r\n".join([line, *lines, "Connection: close", "", ""]).encode("latin-1") + body
        with socket.create_connection((self.target.hostname, self.target.port), timeout=PATIENCE_SECONDS) as service:
            service.sendall(sent)
            goes_on = True
            while goes_on:
                ready, _, _ = select.select([page, service], [], [], PATIENCE_SECONDS)
                piece = service.recv(65536) if service in ready else b""
                if not piece:
                    return
                passing, goes_on = trouble(piece)
                page.sendall(passing)
                self.note_answer(line)


def _received(page: socket.socket) -> tuple[bytes, bytes] | None:
    """Return head and body of a request; None if none comes."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = page.recv(65536)
        if not piece:
            return None
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    length = int(lengths[0].partition(b":")[2]) if lengths else 0
    while len(body) < length:
        body += page.recv(65536)
    return head, body


@contextmanager
def open_wire(target: str) -> Iterator[Wire]:
    """Lay a wire to the service at `target`."""

    class Carrying(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            wire.count(1)
            try:
                wire.carry(self.request)
            except OSError:
                pass  # the page has gone
            finally:
                wire.count(-1)

    class Threads(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Threads(("127.0.0.1", 0), Carrying) as server:
        wire = Wire(target, server.server_address[1])
        serving = threading.Thread(target=server.serve_forever, args=(0.02,))
        serving.start()
        yield wire
        server.shutdown()
        serving.join()
