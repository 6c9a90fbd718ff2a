"""An upstream that knows by the clock how its generations stand, and costs next to nothing.

The id of a generation says when it ends, in milliseconds since 1970: `1790000000000-17`. `GET /asked` tells how often
it was asked after generations.
"""

import argparse
import asyncio
import re
import time
from typing import cast

import uvloop

MILLISECONDS = 1_000

PATH = "/v2/video/generations"
ASKED = "/asked"
_TARGET = re.compile(rb"^GET (?:/asked|[^ ]*generation_id=(\d+)-\d+) HTTP/1.1\r$", re.MULTILINE)
_PENDING = b'{"status": "generating", "video": null, "error": null, "meta": {"usage": {"credits_used": 0}}}'
_COMPLETED = (
    b'{"status": "completed", "video": {"url": "https://films.example/a.mp4"}, "meta": {"usage": {"credits_used": 1}}}'
)


def generation_id(number: int, *, ends_at: float) -> str:
    """Name a generation that ends at that time, in seconds since 1970."""
    return f"{int(ends_at * MILLISECONDS)}-{number}"


def ends_at(generation: str) -> float:
    """Return when the generation of this name ends."""
    return int(generation.partition("-")[0]) / MILLISECONDS


class Upstream(asyncio.Protocol):
    """Answers whatever is asked on one connection."""

    asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._unread = b""

    def data_received(self, data: bytes) -> None:
        heads, end, self._unread = (self._unread + data).rpartition(b"\r\n\r\n")
        for target in _TARGET.finditer(heads + end):
            self._transport.write(self._answer(target[1]))

    def _answer(self, ending: bytes | None) -> bytes:
        if ending is None:
            body = b"%d" % Upstream.asked
        else:
            Upstream.asked += 1
            body = _COMPLETED if time.time() * MILLISECONDS >= int(ending) else _PENDING
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=4096)
    print("upstream listens", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(_serve(parser.parse_args().port))
