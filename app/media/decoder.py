"""The child's side of `child.py`: lock the cage, run one task, answer on stdout. Imports nothing of the house.

The order matters. Limits on time and memory come first; then the task's module is imported, which needs files; then
the number of open files and of processes is set to zero. From there the process can open neither file nor socket, nor
start another: the bytes it was handed are all it will ever see.
"""

import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

NOBODY = 65534


class Refused(Exception):
    """The bytes are not what they should be; the message is a sentence for the user."""


def main(order: Mapping[str, Any]) -> None:
    """Run `order["task"]` on stdin and write: length of the JSON (4 bytes, big-endian), JSON, blob.

    A task whose blob is a function has its facts written first: what kills the second step costs the blob only.
    """
    _limit_use(**order["limits"])
    module, _, function = order["task"].partition(":")
    task = getattr(importlib.import_module(module), function)
    _shut_doors()
    try:
        facts, blob = task(sys.stdin.buffer, **order["arguments"])
    except Refused as refused:
        facts, blob = {"refused": str(refused)}, b""
    head = json.dumps(facts, allow_nan=False).encode()
    sys.stdout.buffer.write(len(head).to_bytes(4, "big") + head)
    sys.stdout.buffer.flush()
    sys.stdout.buffer.write(blob if isinstance(blob, bytes) else blob())
    sys.stdout.buffer.flush()
    # Nothing of a process that has handled hostile bytes needs to run on: no finalizers, no destructors.
    os._exit(0)


def _limit_use(*, cpu_seconds: int, memory_bytes: int) -> None:
    # An ignored signal stays ignored in a child; by default this one ends the process.
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    if sys.platform == "linux":  # elsewhere the kernel refuses or ignores it
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    os.nice(5)  # decoding never starves the API


def _shut_doors() -> None:
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE):
        resource.setrlimit(limit, (0, 0))
    if os.geteuid() == 0:
        _stop_being_root()


def _stop_being_root() -> None:
    """Become nobody: root may start processes whatever the limit says (setrlimit(2), RLIMIT_NPROC)."""
    with suppress(OSError):  # a container may know no other user than root
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
