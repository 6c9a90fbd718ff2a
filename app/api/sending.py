"""Answers that are files: where the server can, the kernel sends them, and their bytes never enter this process."""

from collections.abc import Awaitable, Callable, Mapping
from typing import BinaryIO

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

SEND_FILE = "reelay.send_file"
"""The extension of ASGI by which a part of a file is sent, after the head and in place of the body."""
SendFile = Callable[[int, int, int], Awaitable[None]]
"""Takes a descriptor, and from where up to, not including, where. Nobody closes the file before it has returned."""


def can_send_files(request: Request) -> bool:
    return SEND_FILE in request.scope.get("extensions", {})


class FileAnswer(Response):
    """Sends a part of an open file, and closes it."""

    def __init__(
        self, file: BinaryIO, *, start: int, end: int, status_code: int, headers: Mapping[str, str], media_type: str
    ) -> None:
        """`headers` name the length."""
        super().__init__(status_code=status_code, headers=headers, media_type=media_type)
        self._file, self._start, self._end = file, start, end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        send_file: SendFile = scope["extensions"][SEND_FILE]["send"]
        with self._file:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send_file(self._file.fileno(), self._start, self._end)
            await send({"type": "http.response.body", "body": b""})
