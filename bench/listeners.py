"""`python -m bench.listeners ADDRESS COUNT`: follows a live stream over many connections and notes when events came.

A process of its own, on plain sockets: 1,000 listeners must cost less than what is measured. It says `ready` once all
are connected. Then it is told on its input, as one line of JSON, at which monotonic times events were committed, and
answers with how long each took to each listener. Waits until all came, or for a while.
"""

import argparse
import json
import os
import select
import socket
import sys
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

EVENT = b"event: job.created"
PATIENCE_SECONDS = 30.0


@dataclass
class Listener:
    """One connection: when each of its events came."""

    socket: socket.socket
    has_begun: bool = False
    came_at: list[float] = field(default_factory=list)

    def take(self) -> None:
        """Read what is there. Events are far apart, so one is never in two pieces for long."""
        received = self.socket.recv(65536)
        if not received:
            raise ConnectionError("the server closed a stream")
        if not self.has_begun and not received.startswith(b"HTTP/1.1 200 "):
            raise ConnectionError(f"the server refused a stream: {received[:200]!r}")
        self.has_begun = True
        self.came_at.extend([time.monotonic()] * received.count(EVENT))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("count", type=int)
    given = parser.parse_args()
    request = _request(given.address, key=os.environ.get("BENCH_KEY", ""))
    with select.epoll() as poll:
        listeners = {}
        for _ in range(given.count):
            listener = _connect(given.address, request)
            poll.register(listener.socket, select.EPOLLIN)
            listeners[listener.socket.fileno()] = listener
            _read(poll, listeners, until=time.monotonic())
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not all(listener.has_begun for listener in listeners.values()) and time.monotonic() < deadline:
            _read(poll, listeners, until=time.monotonic() + 0.1)
        print("ready", flush=True)
        poll.register(sys.stdin, select.EPOLLIN)
        while not _read(poll, listeners, until=time.monotonic() + 1):
            pass
        committed_at = json.loads(sys.stdin.readline())
        deadline = time.monotonic() + PATIENCE_SECONDS
        while any(len(one.came_at) < len(committed_at) for one in listeners.values()) and time.monotonic() < deadline:
            _read(poll, listeners, until=time.monotonic() + 0.1)
    _report(list(listeners.values()), committed_at)


def _request(address: str, *, key: str) -> bytes:
    head = f"GET {urlsplit(address).path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n"
    return f"{head}Authorization: Bearer {key}\r\n\r\n".encode()


def _connect(address: str, request: bytes) -> Listener:
    url = urlsplit(address)
    connection = socket.create_connection((url.hostname, url.port), timeout=PATIENCE_SECONDS)
    connection.sendall(request)
    return Listener(connection)


def _read(poll: select.epoll, listeners: dict[int, Listener], *, until: float) -> bool:
    """Read what comes until then; return at once, and True, when the input has something."""
    while True:
        ready = poll.poll(max(until - time.monotonic(), 0), len(listeners) + 1)
        for number, _ in ready:
            if number not in listeners:
                return True
            listeners[number].take()
        if time.monotonic() >= until:
            return False


def _report(listeners: list[Listener], committed_at: list[float]) -> None:
    lags = [came - at for one in listeners for came, at in zip(one.came_at, committed_at, strict=False)]
    wanted = len(listeners) * len(committed_at)
    twice = sum(max(len(one.came_at) - len(committed_at), 0) for one in listeners)
    print(json.dumps({"lags": sorted(lags), "missing": wanted - len(lags), "twice": twice}), flush=True)


if __name__ == "__main__":
    main()
