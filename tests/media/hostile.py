"""Tasks that misbehave, run in a real child process by the tests of `child.py`."""

import hashlib
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from app.media.decoder import Refused

Answer = tuple[dict[str, Any], bytes]


def echo(source: BinaryIO, *, word: str = "") -> Answer:
    data = source.read()
    return {"word": word, "sha256": hashlib.sha256(data).hexdigest(), "seekable": source.seekable()}, data[::-1]


def look_around(source: BinaryIO) -> Answer:
    names = ("RLIMIT_CORE", "RLIMIT_CPU", "RLIMIT_AS", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_NPROC")
    limits = {name: resource.getrlimit(getattr(resource, name)) for name in names}
    isolated = bool(sys.flags.isolated)
    return {"environment": dict(os.environ), "isolated": isolated, "limits": limits, "cwd": str(Path.cwd())}, b""


def try_doors(source: BinaryIO) -> Answer:
    def errno_of(door: Callable[[], object]) -> int | None:
        try:
            door()
        except OSError as error:
            return error.errno
        return None

    return {
        "file": errno_of(lambda: os.open("/dev/null", os.O_RDONLY)),
        "socket": errno_of(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)),
        "pipe": errno_of(os.pipe),
        "process": errno_of(multiply),
    }, b""


def multiply() -> None:
    """Fork; a second self would end at once."""
    if os.fork() == 0:
        os._exit(0)


def refuse(source: BinaryIO) -> Answer:
    raise Refused("Not this one.")


def hoard(source: BinaryIO) -> Answer:
    hoarded = [bytearray(16 << 20) for _ in range(1000)]
    return {"hoarded": len(hoarded)}, b""


def spin(source: BinaryIO) -> Answer:
    while True:
        pass


def sleep(source: BinaryIO) -> Answer:
    time.sleep(60)
    return {}, b""


def shout(source: BinaryIO) -> Answer:
    while True:
        sys.stdout.buffer.write(b"!" * (1 << 16))


def grumble(source: BinaryIO) -> Answer:
    sys.stderr.write("grumble\n" * 200_000)
    return {"done": True}, b""


def grumble_and_fail(source: BinaryIO) -> Answer:
    sys.stderr.write("grumble\n" * 1000)
    raise RuntimeError("enough of this")


def die(source: BinaryIO) -> Answer:
    os.kill(os.getpid(), signal.SIGSEGV)
    return {}, b""


def breed(source: BinaryIO) -> Answer:
    for _ in range(4):  # enough, should the cage have a hole
        os.fork()
    time.sleep(60)
    return {}, b""


def die_over_the_poster(source: BinaryIO) -> tuple[dict[str, Any], Callable[[], bytes]]:
    facts = {"duration_seconds": 5.0, "width": 64, "height": 48, "fps": 24.0, "codec": "h264"}
    return facts, lambda: die(source)[1]


def answer_nonsense(source: BinaryIO) -> Answer:
    return {"width": "wide", "duration_seconds": []}, b"<html>"


def garble(source: BinaryIO, *, text: str) -> Answer:
    sys.stdout.buffer.write(text.encode("latin-1"))
    sys.stdout.buffer.flush()
    os._exit(0)


def ignore_input(source: BinaryIO) -> Answer:
    return {"done": True}, b""
