"""Show jobs on their way: a bar each on a terminal, a line a change without one."""

import threading
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.text import Text

from app.cli.terminal import safe

STEP_PERCENT = 20
LONGEST_LABEL = 36
LONGEST_NOTE = 48


class Row(Protocol):
    """Where one job is shown."""

    def show(self, job: dict[str, Any]) -> None:
        """Show the job as it stands."""

    def note(self, text: str) -> None:
        """Show what happens beside the job: an upload, a service that does not answer."""

    def loading(self, done: int, total: int) -> None:
        """Show how much of the video has come."""

    def end(self, word: str, about: str = "") -> None:
        """Show the one word for what came of it, and what is to be said about that."""


class Board(Protocol):
    """Where a command's jobs are shown."""

    def add(self, label: str) -> Row: ...

    def pause(self) -> None:
        """Leave the screen to a question."""

    def resume(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def board(console: Console) -> Board:
    """Return the board that suits the console."""
    return TerminalBoard(console) if console.is_terminal else LineBoard(console)


def about(job: dict[str, Any]) -> str:
    """Return in words what a job waits for, or for how long."""
    reason = job["queue"]["reason"]
    if reason:
        return str(reason).replace("_", " ")
    if job["queue"]["position"] is not None:
        ahead = job["queue"]["position"] - 1
        return f"{ahead} before it" if ahead else "next"
    if job["overdue"]:
        return "overdue"
    return "" if job["eta_seconds"] is None else f"about {job['eta_seconds']} s left"


class TerminalBoard:
    """Bars that go when all jobs have ended: what came of them is said in lines that stay."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.fields[label]}", style="bold"),
            TextColumn("{task.description:<11}"),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TextColumn("{task.fields[about]}", style="dim"),
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def add(self, label: str) -> "Row":
        return _Bar(self._progress, label)

    def pause(self) -> None:
        self._progress.stop()

    def resume(self) -> None:
        self._progress.start()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


class _Bar:
    def __init__(self, progress: Progress, label: str) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=100, label=Text(safe(_short(label))).markup, about="")

    def show(self, job: dict[str, Any]) -> None:
        self._update(description=job["state"], completed=job["progress"], about=about(job))

    def note(self, text: str) -> None:
        self._update(about=text)

    def loading(self, done: int, total: int) -> None:
        share = 100 * done / max(total, 1)
        self._update(description="downloading", completed=share, about=f"{done / 1e6:.1f} of {total / 1e6:.1f} MB")

    def end(self, word: str, about: str = "") -> None:
        self._update(description=word, about=about)

    def _update(self, *, about: str, **shown: Any) -> None:
        self._progress.update(self._task, about=Text(safe(_short(about, LONGEST_NOTE))).markup, **shown)


class LineBoard:
    """A line for each change, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()

    def add(self, label: str) -> "Row":
        return _Lines(self, label)

    def pause(self) -> None:
        """Lines are in nobody's way."""

    def resume(self) -> None:
        """As above."""

    def line(self, label: str, words: str) -> None:
        with self._lock:
            self._console.print(Text(safe(f"{label}  {words}" if label else words).rstrip()), soft_wrap=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


class _Lines:
    def __init__(self, board: LineBoard, label: str) -> None:
        self._board = board
        self._label = _short(label)
        self._shown: object = None

    def show(self, job: dict[str, Any]) -> None:
        words = f"{job['state']:<11} {job['progress']:>3} %  {about(job)}"
        self._line(words, same=(job["state"], job["progress"] // STEP_PERCENT, job["queue"]["reason"]))

    def note(self, text: str) -> None:
        self._line(text, same=text)

    def loading(self, done: int, total: int) -> None:
        """Too fast for lines."""

    def end(self, word: str, about: str = "") -> None:
        """The last line has said it, or the report will."""

    def _line(self, words: str, *, same: object) -> None:
        if same != self._shown:
            self._shown = same
            self._board.line(self._label, words)


def _short(text: str, most: int = LONGEST_LABEL) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
