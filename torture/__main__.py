"""`python -m torture`: run the parts, print the table, end with 1 if an invariant broke."""

import argparse
import multiprocessing
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.postgres import open_postgres
from torture import client, fencing, matrix, outage, stopping, takeover, wire
from torture.table import Part, rendered
from torture.tied import end_with_parent

PARTS = {
    "matrix": (matrix.run, 0.63),
    "takeover": (takeover.run, 0.06),
    "fencing": (fencing.run, 0.1),
    "stopping": (stopping.run, 0.05),
    "wire": (wire.run, 0.07),
    "outage": (outage.run, 0.06),
    "client": (client.run, 0.03),
}
"""Each part and its share of the time."""


def main() -> int:
    given = _arguments()
    if given.tied:
        end_with_parent()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    print(f"seed {given.seed} (make torture TORTURE_ARGS='--seed {given.seed}' draws the same again)", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="reelay-torture-"))
    parts: list[Part] = []
    with open_postgres() as server:
        for name, (run, share) in PARTS.items():
            if given.only in (None, name):
                began = time.monotonic()
                seconds = given.seconds if given.only else given.seconds * share
                part = run(folder / name, seed=given.seed, seconds=seconds, server=server)
                part.seconds = time.monotonic() - began
                parts.append(part)
    print(rendered(parts))
    if any(part.broken for part in parts):
        print(f"The logs and traces are in {folder}.")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m torture", description=__doc__)
    parser.add_argument("--seconds", type=float, default=700, help="about how long all parts take together")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--only", choices=PARTS, help="run this part alone")
    parser.add_argument("--tied", action="store_true", help="end when the program that started this ends (Linux)")
    return parser.parse_args()


def _stop(number: int, _frame: object) -> None:
    """Take the victims along, and close what was opened."""
    for child in multiprocessing.active_children():
        child.kill()
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
