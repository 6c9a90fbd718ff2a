"""What a stop does to the requests that it cannot wait for."""

import asyncio
import socket
from typing import Any

from uvicorn import Config

from app.main import SERVING, Server


async def test_stop__what_it_cuts_off_is_left_without_an_answer() -> None:
    begun = asyncio.Event()

    async def never_ends(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    listener = socket.create_server(("127.0.0.1", 0))
    config = Config(never_ends, lifespan="off", **SERVING | {"timeout_graceful_shutdown": 0})
    server = Server(config, ready=lambda: None)
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    await begun.wait()
    server.should_exit = True
    assert await reader.read() == b""
    await serving
    writer.close()
    await writer.wait_closed()
