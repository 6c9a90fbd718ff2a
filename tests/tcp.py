"""Ports of this machine, and a bare TCP server for those that tests play by hand."""

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import cache
from itertools import cycle, islice

PORTS = range(15_000, 30_000)
"""Below those that systems hand out by themselves, so that a port is still free after a restart."""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def free_port() -> int:
    """Return one of the PORTS on which nobody listens, and which no other test will choose while a server restarts."""
    for port in islice(_own_ports(), 10):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("Ten ports in a row were taken.")


@cache
def _own_ports() -> Iterator[int]:
    """Each in its turn, in a random order: those of this process, where several run the tests side by side."""
    number, of = os.environ.get("PYTEST_XDIST_WORKER", "gw0"), os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
    own = list(PORTS[int(number.removeprefix("gw")) :: int(of)])
    random.SystemRandom().shuffle(own)
    return cycle(own)


@contextlib.asynccontextmanager
async def accepting(serve: Serve, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """Serve each connection in a task of its own and yield the port; what is still served at the end is cut off."""
    tasks: set[asyncio.Future[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, host, port, backlog=512)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
