"""Lanes: what mostly waits is run side by side, each lane with a row of its own until all are over."""

import threading
from collections.abc import Callable, Mapping

from torture.table import Part

Lane = Callable[[Part], None]


def run_side_by_side(name: str, lanes: Mapping[str, Lane]) -> Part:
    """Run every lane in a thread; return the sum. A lane that raises is broken, and the others go on."""
    rows = {lane: Part(name) for lane in lanes}
    threads = [threading.Thread(target=_run, args=(lane, run, rows[lane])) for lane, run in lanes.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = Part(name)
    for row in rows.values():
        whole.counts.update(row.counts)
        whole.figures += row.figures
        whole.broken += row.broken
    return whole


def _run(lane: str, run: Lane, row: Part) -> None:
    try:
        run(row)
    except BaseException as error:  # noqa: BLE001  # the table tells
        row.broken.append(f"[{lane}] did not come to its end: {error!r}")
