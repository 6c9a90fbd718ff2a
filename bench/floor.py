"""The floor: a bare FastAPI process on the same loop and HTTP parser, which answers with bytes that it holds ready.

No middleware, no key, no checks, no database: what no service built on FastAPI can pass. Its live stream sends what is
posted to it to everybody who listens.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.responses import Response, StreamingResponse


def build(payload: bytes) -> FastAPI:
    """Return the application; `payload` is the body of every answer."""
    app = FastAPI(openapi_url=None)

    @app.get("/v1/jobs/{job_id}")
    async def read_job(job_id: str) -> Response:
        return Response(payload, media_type="application/json")

    @app.post("/v1/jobs")
    async def create_job(order: dict[str, Any]) -> Response:
        return Response(payload, status_code=201, media_type="application/json")

    listeners: set[asyncio.Queue[bytes]] = set()

    @app.get("/v1/events")
    async def follow() -> Response:
        return StreamingResponse(_frames(listeners), media_type="text/event-stream")

    @app.post("/events")
    async def tell() -> Response:
        for queue in listeners:
            queue.put_nowait(b"event: job.created\ndata: %b\n\n" % payload)
        return Response(status_code=204)

    @app.get("/healthz")
    async def healthz() -> Response:
        return Response(b'{"status":"ok"}', media_type="application/json")

    return app


async def _frames(listeners: set[asyncio.Queue[bytes]]) -> AsyncIterator[bytes]:
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    listeners.add(queue)
    try:
        yield b": here\n\n"
        while True:
            yield await queue.get()
    finally:
        listeners.discard(queue)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--payload", type=Path, required=True, help="a file with the body of every answer")
    given = parser.parse_args()
    uvicorn.run(
        build(given.payload.read_bytes()),
        host="127.0.0.1",
        port=given.port,
        loop="uvloop",
        http="httptools",
        server_header=False,
        timeout_keep_alive=30,
        backlog=2048,
        access_log=False,
    )


if __name__ == "__main__":
    main()
