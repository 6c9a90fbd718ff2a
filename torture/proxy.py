"""A TCP proxy that harms one connection in a chosen way, and lets every other pass.

What is to happen is written in the request itself, as `[wire WHAT N]`, so that a relay on the way carries it along. It
happens to the first POST that says so, or with `[wire WHAT N xTIMES]` to the first few; said again it is let through.
"""

import asyncio
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

_ORDER = re.compile(rb"\[wire ([a-z-]+)(?: ([0-9]+))?(?: x([0-9]+))?\]")
_INFERENCE_ID = re.compile(rb"x-inference-id: *[^\r]*\r\n", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
BLACKHOLE_SECONDS = 30.0
DRIP_SECONDS = 0.002
LATENCY_SECONDS = 0.5
LARGEST = 1 << 20

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """Counts in `struck` what was done. `cuts` holds how many bytes were let through, and of how many."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._done: Counter[bytes] = Counter()
        self.struck: Counter[str] = Counter()
        self.cuts: dict[str, dict[int, int]] = {"truncate": {}, "truncate-body": {}}

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Canceled at the end of the proxy; asyncio's streams log a task that says so.
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            try:
                await self._relay((reader, writer))
            finally:
                writer.close()

    async def _relay(self, caller: Streams) -> None:
        """Pass requests on, one after the other, each over a connection of its own, until one is to be harmed."""
        while True:
            request = await _request(caller[0])
            order = _ORDER.search(request) if request.startswith(b"POST") else None
            if order is not None and self._done[order[0]] < int(order[3] or 1):
                self._done[order[0]] += 1
                what = order[1].decode()
                self.struck[what] += 1
                await self._harm(what, int(order[2] or 0), request, caller)
                return
            head, body = await self._answer(request)
            caller[1].write(head + body)
            await caller[1].drain()
            if b"\r\nconnection: close" in (request + head).lower():
                return

    async def _answer(self, request: bytes) -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_connection(self._host, self._port, limit=LARGEST)
        try:
            writer.write(request)
            await writer.drain()
            return await _message(reader)
        finally:
            writer.close()

    async def _harm(self, what: str, number: int, request: bytes, caller: Streams) -> None:
        match what:
            case "reset-before":
                _reset(caller)
            case "reset-during":
                _, writer = await asyncio.open_connection(self._host, self._port)
                writer.write(request[: len(request) // 2])
                await writer.drain()
                writer.transport.abort()
                _reset(caller)
            case "reset-after":
                await self._answer(request)
                _reset(caller)
            case "blackhole":
                await asyncio.sleep(BLACKHOLE_SECONDS)
            case "blackhole-after":
                await self._answer(request)
                await asyncio.sleep(BLACKHOLE_SECONDS)
            case "latency":
                await asyncio.sleep(LATENCY_SECONDS)
                caller[1].write(b"".join(await self._answer(request)))
                await caller[1].drain()
            case "drip":
                for byte in b"".join(await self._answer(request)):
                    caller[1].write(bytes([byte]))
                    await caller[1].drain()
                    await asyncio.sleep(DRIP_SECONDS)
            case "truncate":
                await self._cut(what, b"", b"".join(await self._answer(request)), number, caller[1])
            case "truncate-body":
                head, body = await self._answer(request)
                await self._cut(what, _INFERENCE_ID.sub(b"", head), body, number, caller[1])
            case _:
                raise ValueError(f"no such harm: {what}")

    async def _cut(self, what: str, whole: bytes, cut: bytes, number: int, writer: asyncio.StreamWriter) -> None:
        """Let all of `whole` through, and so many bytes of what is cut."""
        self.cuts[what][number] = len(cut)
        writer.write(whole + cut[:number])
        await writer.drain()

    def longest_cut_everywhere(self, what: str) -> int:
        """Return the length of the shortest answer, or 0 unless answers were cut after every number of bytes."""
        length = min(self.cuts[what].values(), default=0)
        return length if self.cuts[what].keys() >= set(range(length)) else 0


HARMS = ("latency", "drip", "reset-before", "reset-during", "reset-after", "blackhole", "blackhole-after")


async def _request(reader: asyncio.StreamReader) -> bytes:
    return b"".join(await _message(reader))


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    if length is None and b"\r\ntransfer-encoding: chunked" in head.lower():
        body = b""
        while not body.endswith(b"0\r\n\r\n"):
            body += await reader.readuntil(b"\r\n")
        return head, body
    return head, await reader.readexactly(int(length[1])) if length else b""


def _reset(caller: Streams) -> None:
    """Close with a TCP reset."""
    own = caller[1].get_extra_info("socket")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    caller[1].transport.abort()


@contextmanager
def proxied(target: str) -> Iterator[tuple[Proxy, str]]:
    """Run a proxy in front of `target` in a thread; yield it and its address."""
    proxy, ready = Proxy(target), threading.Event()
    loop, ended = asyncio.new_event_loop(), asyncio.Event()
    address: list[str] = []

    async def listen() -> None:
        server = await asyncio.start_server(proxy.connected, "127.0.0.1", 0, limit=LARGEST)
        address.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        ready.set()
        await ended.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    thread = threading.Thread(target=loop.run_until_complete, args=(listen(),), daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield proxy, address[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.run_until_complete(asyncio.sleep(0))  # what was canceled ends
        loop.close()
