"""Runs one decoding task in a child process: no environment, hard limits, no files and no network but its input.

Whatever decodes foreign bytes goes through here, so that a hostile file costs a child and never the service. The child
is `python -I -S` with an empty environment: it sees the standard library and the roots it is told, nothing else. The
rest of its cage is in `decoder.py`, which it runs first.
"""

import asyncio
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO
from weakref import WeakKeyDictionary

from app.domain.errors import MediaError, StorageFailed
from app.domain.text import clean

CONCURRENCY = 2
_STDERR_KEPT = 2000
_REAP_SECONDS = 5.0
_LENGTH_BYTES = 4
_START = (
    "import json, sys; order = json.loads(sys.argv[1]); sys.path += order['roots']; "
    "from app.media.decoder import main; main(order)"
)


class DecoderCrashed(MediaError):
    """The child died, ran into a limit or answered nonsense. It says nothing certain about the file."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one child may use. `wall_seconds` counts from its start, not from the wait for a free slot."""

    cpu_seconds: int
    wall_seconds: float
    memory_bytes: int
    output_bytes: int


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """What the child found, and at most one binary result; `trouble` if it died between the two."""

    facts: Mapping[str, object]
    blob: bytes
    trouble: str | None = None


_slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def decode(
    task: str,
    *,
    source: bytes | Path,
    limits: Limits,
    refusal: type[MediaError],
    arguments: Mapping[str, object] | None = None,
    roots: Sequence[str] = (),
    facts_suffice: bool = False,
) -> Decoded:
    """Run `task`, a "module:function" of ours, on `source` in a child process.

    The function gets the source as a binary file and `arguments` as keywords. Raises `refusal` with the child's
    sentence when it refuses the bytes, DecoderCrashed when the child fails, StorageFailed when `source` can't be read.
    `roots` are further folders to import from. With `facts_suffice` a child that died after its facts is no failure:
    the answer then names the `trouble` and has no blob.
    """
    order = {
        "task": task,
        "roots": [*_import_roots(), *roots],
        "arguments": dict(arguments or {}),
        "limits": {"cpu_seconds": limits.cpu_seconds, "memory_bytes": limits.memory_bytes},
    }
    slots = _slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(CONCURRENCY))
    async with slots:
        if isinstance(source, bytes):
            answer, trouble = await _run(order, stdin=asyncio.subprocess.PIPE, data=source, limits=limits)
        else:
            file = await _open_source(source)
            try:
                answer, trouble = await _run(order, stdin=file, data=b"", limits=limits)
            finally:
                file.close()
    if trouble is not None and not facts_suffice:
        raise DecoderCrashed(trouble)
    decoded = _parse(answer, trouble=trouble)
    if "refused" in decoded.facts:
        raise refusal(clean(decoded.facts["refused"]))
    return decoded


async def _open_source(path: Path) -> IO[bytes]:
    try:
        return await asyncio.to_thread(path.open, "rb")
    except OSError as error:
        raise StorageFailed(f"A file to check could not be read: {error.strerror}.") from error


@cache
def _import_roots() -> tuple[str, ...]:
    """Return the folders that hold the packages this process uses, however it came by them."""
    roots = []
    for package in ("app", "PIL", "av"):
        spec = importlib.util.find_spec(package)
        assert spec is not None and spec.submodule_search_locations, f"{package} is not installed"
        roots.append(str(Path(spec.submodule_search_locations[0]).resolve().parent))
    return tuple(dict.fromkeys(roots))


async def _run(
    order: Mapping[str, object], *, stdin: int | IO[bytes], data: bytes, limits: Limits
) -> tuple[bytes, str | None]:
    """Return what the child wrote, and what went wrong with it, if anything."""
    output = bytearray()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-S", "-c", _START, json.dumps(order)),
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={},
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise DecoderCrashed(f"No decoder could be started: {error.strerror}.") from error
    try:
        async with asyncio.timeout(limits.wall_seconds):
            _, _, complaint = await asyncio.gather(
                _feed(process, data=data), _read_capped(process, output, limits.output_bytes), _read_tail(process)
            )
            status = await process.wait()
    except TimeoutError:
        return bytes(output), f"The decoder took longer than {limits.wall_seconds:g} s."
    finally:
        await _end(process)
    if len(output) > limits.output_bytes:
        return bytes(output), f"The decoder answered with more than {limits.output_bytes} bytes."
    return bytes(output), None if status == 0 else _obituary(status, complaint)


async def _feed(process: asyncio.subprocess.Process, *, data: bytes) -> None:
    if process.stdin is None:
        return
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()
    with suppress(BrokenPipeError, ConnectionResetError):
        await process.stdin.wait_closed()


async def _read_capped(process: asyncio.subprocess.Process, answer: bytearray, cap: int) -> None:
    assert process.stdout is not None
    while chunk := await process.stdout.read(1 << 16):
        if len(answer) <= cap:
            answer += chunk
        if len(answer) > cap:
            _kill(process)  # and read on: an unread pipe would never be closed


async def _read_tail(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    tail = b""
    while chunk := await process.stderr.read(1 << 16):
        tail = (tail + chunk)[-_STDERR_KEPT:]
    return tail.decode("utf-8", "replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill whatever is left of the child, empty its pipes (asyncio closes them only at their end) and reap it."""
    _kill(process)
    with suppress(TimeoutError):
        async with asyncio.timeout(_REAP_SECONDS):
            for pipe in (process.stdout, process.stderr):
                while pipe is not None and await pipe.read(1 << 16):
                    pass
            await process.wait()


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it leads a session of its own


def _obituary(status: int, complaint: str) -> str:
    last = complaint.strip().rpartition("\n")[2]
    if status == -signal.SIGXCPU:
        return "The decoder used up its processor time."
    how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
    return f"The decoder {how}{': ' + clean(last, limit=200) if last else ''}."


def _parse(answer: bytes, *, trouble: str | None) -> Decoded:
    """Read what a child that handled hostile bytes sent: believe its frame, not its content."""
    length = int.from_bytes(answer[:_LENGTH_BYTES], "big")
    end = _LENGTH_BYTES + length
    try:
        facts = json.loads(answer[_LENGTH_BYTES:end])
    except ValueError as error:
        raise DecoderCrashed(trouble or "The decoder's answer cannot be read.") from error
    if not isinstance(facts, dict):
        raise DecoderCrashed("The decoder's answer cannot be read.")
    return Decoded(facts=facts, blob=b"" if trouble else answer[end:], trouble=trouble)
