"""The sandbox as a process: uvicorn with a protocol that lets faults reach the TCP connection."""

import asyncio
import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.catalogue.catalogue import Catalogue
from app.sandbox.answers import TRANSPORT
from app.sandbox.app import create_app
from app.sandbox.config import SandboxConfig

if TYPE_CHECKING:
    from collections.abc import Callable

_START_SECONDS = 30.0
_STOP_SECONDS = 5.0


class ExposedConnection(HttpToolsProtocol):
    """Lays the connection's transport into the scope of each of its requests."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: {"transport": self.transport}}


class SandboxServer(uvicorn.Server):
    """Says when it listens, ends as soon as it is told to, and then drops whoever still hangs on."""

    def __init__(self, config: uvicorn.Config, *, on_listening: "Callable[[], None]") -> None:
        super().__init__(config)
        self._on_listening = on_listening
        self._ticking: asyncio.Task[None] | None = None

    def end(self) -> None:
        """Stop serving; from any thread."""
        self.should_exit = True
        if self._ticking is not None:  # it would be seen at the next tick only
            self._ticking.get_loop().call_soon_threadsafe(self._ticking.cancel)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_listening()

    async def main_loop(self) -> None:
        self._ticking = asyncio.create_task(super().main_loop())
        with contextlib.suppress(asyncio.CancelledError):
            await self._ticking

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End without the time that uvicorn leaves to those who are being answered."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        if self.server_state.tasks:
            _, late = await asyncio.wait(self.server_state.tasks, timeout=_STOP_SECONDS)
            for task in late:
                task.cancel()
        await self.lifespan.shutdown()


def serve(config: SandboxConfig, host: str = "127.0.0.1", port: int = 0, *, exit_with_parent: bool = False) -> None:
    """Serve until told to stop; port 0 takes a free one. Prints one line with the address once it listens.

    With `exit_with_parent` it also ends when its standard input does, so it never outlives who started it.
    """
    with _listening_socket(host, port) as listener:
        address = _address(listener)

        def announce() -> None:
            sys.stdout.write(f"sandbox listening on {address}\n")
            sys.stdout.flush()

        server = _server(config, None, announce)
        if exit_with_parent:
            threading.Thread(target=_stop_at_end_of_input, args=(server,), daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])


@contextlib.contextmanager
def running(config: SandboxConfig, catalogue: Catalogue | None = None) -> Iterator[str]:
    """Serve from a thread of this process for as long as the context lasts; yields the base URL."""
    listening = threading.Event()
    with _listening_socket("127.0.0.1", 0) as listener:
        server = _server(config, catalogue, listening.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            if not listening.wait(_START_SECONDS):
                raise RuntimeError("the sandbox did not start")
            yield _address(listener)
        finally:
            server.end()
            thread.join()


def _server(config: SandboxConfig, catalogue: Catalogue | None, on_listening: "Callable[[], None]") -> SandboxServer:
    settings = uvicorn.Config(
        create_app(config, catalogue),
        http=ExposedConnection,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        timeout_keep_alive=30,
    )
    return SandboxServer(settings, on_listening=on_listening)


def _listening_socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _stop_at_end_of_input(server: SandboxServer) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    server.end()
