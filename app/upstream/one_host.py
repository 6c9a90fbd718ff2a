"""The free reads: kept connections to the upstream's host and to no other.

A client made for everything looks through its whole pool for each request, and spends more on its own objects than on
the network. These reads need none of that: no cookies, no redirects, no proxy, nothing sent but a head.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from itertools import chain, zip_longest
from typing import Any, Protocol

import httpx2

from app.upstream import exchange
from app.upstream.connection import Connection

MOST_CONNECTIONS = 128
KEPT_SECONDS = 15.0
"""A connection that was idle for so long may be one that the other side is just closing."""
ADDRESS_SECONDS = 2.0
"""How long one of several addresses may let us wait before the next is tried."""


class Reads(Protocol):
    """Asks for `target`, a path with its query; the answer must be closed. Raises what broke on the way."""

    async def get(self, target: str, *, headers: Mapping[str, str]) -> exchange.Answer: ...
    async def aclose(self) -> None: ...


class Carried:
    """The reads over any transport of httpx2's."""

    def __init__(self, transport: httpx2.AsyncBaseTransport, *, url: str) -> None:
        self._transport = transport
        self._url = httpx2.URL(url)

    async def get(self, target: str, *, headers: Mapping[str, str]) -> httpx2.Response:
        url = self._url.copy_with(raw_path=target.encode("ascii"))
        return await self._transport.handle_async_request(httpx2.Request("GET", url, headers=headers))

    async def aclose(self) -> None:
        await self._transport.aclose()


class OneHost:
    """GET requests over HTTP/1.1, certificates verified.

    At most MOST_CONNECTIONS are under way; the others wait for their turn. Whoever calls bounds the time.
    """

    def __init__(self, url: str, *, connect_timeout_seconds: float) -> None:
        parsed = httpx2.URL(url)
        self._host = parsed.raw_host.decode("ascii")
        self._port = parsed.port or {"http": 80, "https": 443}[parsed.scheme]
        self._tls = _tls() if parsed.scheme == "https" else None
        self._said = {"Host": parsed.netloc.decode("ascii"), "Accept-Encoding": "identity", "User-Agent": "reelay"}
        self._connect_timeout_seconds = connect_timeout_seconds
        self._slots = asyncio.Semaphore(MOST_CONNECTIONS)
        self._idle: list[Connection] = []
        self._closed = False

    async def get(self, target: str, *, headers: Mapping[str, str]) -> "Answer":
        head = _head(target, {**self._said, **headers})
        await self._slots.acquire()
        try:
            return await self._asked(head)
        except BaseException:
            self._slots.release()
            raise

    async def _asked(self, head: bytes) -> "Answer":
        while True:
            kept = self._kept()
            connection = kept or await self._connected()
            try:
                status, headers = await connection.ask(head)
            except BaseException as error:
                connection.close()
                # The other side had closed it before it could read the request: a read may be sent again.
                if kept is None or connection.answer_began or not isinstance(error, httpx2.RemoteProtocolError):
                    raise
            else:
                return Answer(status, headers, connection, self)

    def _kept(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and time.monotonic() - connection.used_at < KEPT_SECONDS:
                return connection
            connection.close()
        return None

    def put_back(self, connection: Connection) -> None:
        """Keep a connection for the next request, if it can carry one."""
        self._slots.release()
        if connection.release():
            if self._closed:
                connection.close()
            else:
                self._idle.append(connection)

    async def _connected(self) -> Connection:
        if self._closed:
            raise RuntimeError("the upstream client is closed")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout_seconds):
                sock = await _reached(self._host, self._port)
                try:
                    _, connection = await loop.create_connection(
                        Connection, sock=sock, ssl=self._tls, server_hostname=self._host if self._tls else None
                    )
                except BaseException:
                    sock.close()
                    raise
        except TimeoutError:
            raise httpx2.ConnectTimeout("the connection did not stand in time") from None
        return connection

    async def aclose(self) -> None:
        """Close the kept connections; those in use end with their answers."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()


class Answer:
    """An answer whose body is still to be read. Its connection is kept if all of it was."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], connection: Connection, host: OneHost) -> None:
        self.status_code = status
        self.headers = httpx2.Headers(headers)
        self._connection: Connection | None = connection
        self._host = host

    async def aiter_bytes(self) -> AsyncGenerator[bytes, None]:
        assert self._connection is not None
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            raise httpx2.DecodingError("the upstream compressed its answer, which was not asked for")
        async with aclosing(self._connection.body()) as chunks:
            async for chunk in chunks:
                yield chunk

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._host.put_back(connection)


def _head(target: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    head = "\r\n".join([*lines, "", ""])
    # Whoever could break a line could write a request of their own, with our key in it.
    if not head.isascii() or head.count("\r") != len(lines) + 1 or head.count("\n") != len(lines) + 1 or "\0" in head:
        raise httpx2.LocalProtocolError("a header holds what no header may")
    return head.encode("ascii")


async def _reached(host: str, port: int) -> socket.socket:
    """Return a socket connected to the first of the host's addresses that answers, IPv6 and IPv4 in turn."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    families = [[one for one in found if one[0] == family] for family in dict.fromkeys(one[0] for one in found)]
    turns: list[Any] = [one for one in chain.from_iterable(zip_longest(*families)) if one is not None]
    for left, (family, kind, protocol, _, address) in zip(reversed(range(len(turns))), turns, strict=True):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(ADDRESS_SECONDS if left else None):
                await loop.sock_connect(sock, address)
            return sock
        except BaseException as error:
            sock.close()
            if not left or not isinstance(error, OSError):  # TimeoutError is one
                raise
    raise httpx2.ConnectError(f"{host} has no address")


def _tls() -> ssl.SSLContext:
    context = httpx2.create_ssl_context(trust_env=False)
    context.set_alpn_protocols(["http/1.1"])
    return context
