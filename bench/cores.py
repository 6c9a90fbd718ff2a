"""One core for what is measured by the core."""

import os


def keep_to_one() -> None:
    """Let this process and its threads run on the last core only, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
