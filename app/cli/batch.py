"""Several jobs side by side, each in a thread: one that fails stops no other, and Ctrl-C leaves none in the dark."""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from app.cli import terminal
from app.cli.exits import Away, Exit, Left, worst
from app.cli.progress import Board, Row
from app.cli.service import Service, job_path
from app.cli.watching import FINAL
from app.domain.errors import ReelayError, SettingsError

MOST_AT_ONCE = 64


@dataclass(slots=True)
class Work:
    """What is known of one job of the batch; its thread writes, everybody reads."""

    label: str
    number: int = 0
    job: dict[str, Any] | None = None
    file: Path | None = None
    error: str | None = None
    error_code: str | None = None
    code: Exit = Exit.OK

    @property
    def unfinished(self) -> bool:
        """Whether its job exists and goes on."""
        return self.job is not None and self.job["status"] not in FINAL


Step = Callable[[Work, Row], None]


class Batch:
    """Runs a step for every work and stays with them until all have ended, or the person leaves."""

    def __init__(self, service: Service, board: Board, works: list[Work], *, may_cancel: bool) -> None:
        self._service, self._board, self._works, self._may_cancel = service, board, works, may_cancel
        self.closed = threading.Event()
        """Set once nothing more may be bought."""

    def run(self, step: Step) -> Exit:
        """Return the one exit code for all."""
        pool = ThreadPoolExecutor(max_workers=min(MOST_AT_ONCE, len(self._works) or 1))
        with self._board:
            rows = [self._board.add(work.label) for work in self._works]
            futures = [pool.submit(self._guarded, step, *pair) for pair in zip(self._works, rows, strict=True)]
            while not self._all_done(futures):
                self._board.pause()
                if not self._goes_on():
                    self._leave(pool)
                    break
                self._board.resume()
        for future in futures:
            if not future.cancelled():
                future.result()
        pool.shutdown()
        return worst([work.code for work in self._works])

    def _all_done(self, futures: list[Future[None]]) -> bool:
        """Wait for all; False if Ctrl-C came first."""
        try:
            wait(futures)
        except KeyboardInterrupt:
            return False
        return True

    def _guarded(self, step: Step, work: Work, row: Row) -> None:
        """Run the step and keep what went wrong with the work."""
        try:
            step(work, row)
        except Left:
            work.code = Exit.INTERRUPTED
        except SettingsError as error:
            work.error, work.code = str(error), Exit.USAGE
        except ReelayError as error:
            work.error, work.error_code, work.code = error.message, error.code, Exit.FAILED
        except Away as error:
            work.error, work.code = str(error), Exit.AWAY
        finally:
            row.end(_word(work), work.error or "")

    def _goes_on(self) -> bool:
        """Ask what Ctrl-C meant; True to stay, with the jobs canceled, False to leave them running."""
        jobs = sum(work.unfinished for work in self._works)
        if not self._may_cancel or self.closed.is_set() or not terminal.is_interactive():
            return False
        what = f"Cancel {jobs} jobs?" if jobs > 1 else "Cancel the job?"
        try:
            wanted = typer.confirm(f"\n{what} What was bought already is charged.", default=False, err=True)
        except (typer.Abort, KeyboardInterrupt):
            wanted = False
        if wanted:
            self.closed.set()
            self._cancel_all()
        return wanted

    def _cancel_all(self) -> None:
        for work in self._works:
            if work.unfinished:
                self.cancel(work)

    def cancel(self, work: Work) -> None:
        """Cancel the work's job, or say why it goes on."""
        assert work.job is not None
        try:
            self._service.change(f"{job_path(work.job['id'])}/cancel")
        except ReelayError as error:
            terminal.say(f"{work.job['id']}: {error.message}")
        except Away as error:
            terminal.say(f"{work.job['id']} is not canceled: {error}")

    def _leave(self, pool: ThreadPoolExecutor) -> None:
        """Let the threads end; what one of them is buying just then is still heard, unless Ctrl-C comes again."""
        self.closed.set()
        self._service.leave()
        try:
            pool.shutdown(cancel_futures=True)
        except KeyboardInterrupt:
            say_how_to_resume(self._works)
            sys.stdout.flush()
            os._exit(Exit.INTERRUPTED)
        for work in self._works:
            if work.unfinished or (work.job is None and work.error is None):
                work.code = Exit.INTERRUPTED


def _word(work: Work) -> str:
    match work.code:
        case Exit.OK:
            return "done"
        case Exit.CANCELED:
            return "canceled"
        case Exit.INTERRUPTED:
            return "left"
    return "failed"


def say_how_to_resume(works: list[Work]) -> None:
    """Name the jobs that go on without us, and what to type to have their videos."""
    ids = [work.job["id"] for work in works if work.unfinished and work.job is not None]
    if ids:
        terminal.say(f"{'This job goes' if len(ids) == 1 else 'These jobs go'} on. Get the result with:")
        terminal.say(f"  reelay jobs download {' '.join(ids)}")
