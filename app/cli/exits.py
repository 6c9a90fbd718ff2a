"""How the client commands end: the exit codes that scripts can rely on, and the errors behind them."""

from enum import IntEnum

from app.domain.errors import ReelayError


class Exit(IntEnum):
    """What the shell sees."""

    OK = 0
    FAILED = 1
    """A job failed, or the service refused."""
    USAGE = 2
    """The command, a setting or the key is wrong: change it and try again."""
    CANCELED = 3
    AWAY = 4
    """The service did not answer, or could not for now."""
    INTERRUPTED = 130
    """Ctrl-C; jobs that were made go on."""


class Refused(ReelayError):
    """The service said no, with a sentence that says what to do."""

    def __init__(self, message: str, *, status: int, code: str, param: str | None = None) -> None:
        super().__init__(message, code=code, param=param)
        self.status = status


class Away(Exception):
    """The service could not be reached, or answered nothing that can be used."""


class Left(Exception):
    """The person at the keyboard does not want to wait any more."""


def worst(codes: list[Exit]) -> Exit:
    """Return the one code for several jobs: a failure outweighs an absence, and that a cancellation."""
    order = (Exit.INTERRUPTED, Exit.USAGE, Exit.FAILED, Exit.AWAY, Exit.CANCELED)
    return next((code for code in order if code in codes), Exit.OK)
