"""What wrk does, in Python, where wrk is not installed: it takes far more of the processor for the same load."""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import httptools
import uvloop

from bench.load import SEPARATOR


class Tally:
    """What all connections saw together."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.bad_statuses = 0
        self.broken = 0
        self.over = False

    def as_dict(self, *, seconds: float) -> dict[str, float]:
        ordered = sorted(self.seconds) or [0.0]
        return {
            "answers": len(self.seconds),
            "seconds": seconds,
            "bad_statuses": self.bad_statuses,
            "broken": self.broken,
            "p50_ms": ordered[len(ordered) // 2] * 1000,
            "p99_ms": ordered[len(ordered) * 99 // 100] * 1000,
        }


class Connection(asyncio.Protocol):
    """Sends the next request as soon as the last is answered."""

    def __init__(self, requests: Iterator[bytes], tally: Tally) -> None:
        self._requests, self._tally = requests, tally
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._send()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self._tally.over:
            return
        self._tally.seconds.append(time.perf_counter() - self._sent_at)
        self._tally.bad_statuses += self._parser.get_status_code() >= 400
        self._parser = httptools.HttpResponseParser(self)
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        self._tally.broken += not self._tally.over


async def send(base: str, requests: Iterator[bytes], *, connections: int, seconds: float) -> dict[str, float]:
    """Send for that long and return what came back."""
    loop, tally = asyncio.get_running_loop(), Tally()
    began = time.perf_counter()
    opened = [
        await loop.create_connection(lambda: Connection(requests, tally), "127.0.0.1", urlsplit(base).port or 80)
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds)
    tally.over = True
    found = tally.as_dict(seconds=time.perf_counter() - began)
    for transport, _ in opened:
        transport.close()
    return found


if __name__ == "__main__":
    base, path, connections, seconds = sys.argv[1:]
    written = Path(path).read_bytes().split(SEPARATOR)
    work = send(base, cycle(written), connections=int(connections), seconds=float(seconds))
    print(json.dumps(uvloop.run(work)))
