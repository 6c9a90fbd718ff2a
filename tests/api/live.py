"""A reader of Server-Sent Events in process, where the HTTP client would wait for the end of the answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI


@dataclass
class Live:
    """One open stream, and what came of it."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    arrived: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def next(self) -> dict[str, Any]:
        """Return the next event: its id, if it has one, its name and its data. Heartbeats are passed over."""
        async with asyncio.timeout(10):
            while True:
                fields = dict(
                    line.partition(": ")[::2]
                    for line in (await self.arrived.get()).decode().splitlines()
                    if not line.startswith(":")
                )
                if "data" in fields:
                    told: dict[str, Any] = fields | {"data": json.loads(fields["data"])}
                    return told

    async def names(self, count: int) -> list[tuple[str | None, str]]:
        """Return the ids and names of the next stored events."""
        found: list[tuple[str | None, str]] = []
        while len(found) < count:
            told = await self.next()
            if "id" in told:
                found.append((told["id"], told["event"]))
        return found

    async def rest(self) -> list[str]:
        """Return the names of all that comes until the stream ends."""
        async with asyncio.timeout(10):
            await self.ended.wait()
        names = []
        while not self.arrived.empty():
            names += [
                line[7:] for line in self.arrived.get_nowait().decode().splitlines() if line.startswith("event: ")
            ]
        return names


@asynccontextmanager
async def live(app: FastAPI, url: str, *, key: str | None = None, **headers: str) -> AsyncIterator[Live]:
    """Open the stream at `url`; leaving the context closes it, as a browser does."""
    path, _, query = url.removeprefix("https://reelay.test").partition("?")
    given = {"accept": "text/event-stream", "host": "reelay.test"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    if key is not None:
        given["authorization"] = f"Bearer {key}"
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "client": ("127.0.0.1", 1),
        "server": ("reelay.test", 443),
        "scheme": "https",
        "http_version": "1.1",
    }
    opened, begun = Live(), asyncio.Event()

    async def receive() -> dict[str, Any]:
        await opened.left.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            opened.status = message["status"]
            opened.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            begun.set()
        else:
            opened.arrived.put_nowait(message.get("body", b""))
            if not message.get("more_body"):
                opened.ended.set()

    serving = asyncio.ensure_future(app(scope, receive, send))
    try:
        async with asyncio.timeout(10):
            await begun.wait()
        yield opened
    finally:
        opened.left.set()
        async with asyncio.timeout(10):
            await serving
