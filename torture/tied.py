"""Processes that end with the one that started them, however that one ends."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Be killed once the program that started this one is gone. Only Linux knows how."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it was gone before we asked
        _end()


def end_with_planner() -> None:
    """Be killed once the process that planned this one is gone: it is not the parent, which only forks."""
    planner = multiprocessing.parent_process()
    assert planner is not None, "only a process that multiprocessing began has a planner"

    def watch() -> None:
        planner.join()
        _end()

    threading.Thread(target=watch, daemon=True, name="ends with its planner").start()


def _end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
