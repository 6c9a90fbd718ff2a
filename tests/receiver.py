"""A receiver of webhooks on this machine: keeps what came, and answers as a test decides."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook

from tests.tcp import accepting


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    def verified(self, secret: str) -> dict[str, Any]:
        """Return the event, as the reference library accepts it."""
        found: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return found


def status(code: int, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {code} So", "Content-Length: 2", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\nno"


@dataclass
class Receiver:
    """Answers 200 until told otherwise: `answer` returns bytes, or nothing to break off without a word."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    answer: Callable[[Received], Awaitable[bytes]] | None = None
    came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/hook") -> str:
        return f"http://{self.place}{path}"

    def answers(self, *replies: bytes) -> None:
        """Give these answers in turn, the last one again and again."""
        left = list(replies)

        async def reply(_received: Received) -> bytes:
            return left.pop(0) if len(left) > 1 else left[0]

        self.answer = reply

    def holds(self, reply: bytes) -> asyncio.Event:
        """Let everybody wait until the event is set, then give this answer."""
        going = asyncio.Event()

        async def hold(_received: Received) -> bytes:
            await going.wait()
            return reply

        self.answer = hold
        return going

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            named = dict(line.split(": ", 1) for line in head[1:] if line)
            headers = {name.lower(): value for name, value in named.items()}
            body = await reader.readexactly(int(headers["content-length"]))
            received = Received(head[0].split()[1], headers, body)
            self.received.append(received)
            self.came.set()
            writer.write(await self.answer(received) if self.answer else status(200))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def receiving(port: int = 0) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with accepting(receiver.serve, port=port) as receiver.port:
        yield receiver
