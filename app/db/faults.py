"""What the database's errors mean to the rest of the house."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.domain.errors import Unavailable

CONFLICTS = {"40001", "40P01"}
"""Postgres' serialization failure and deadlock: the database work is repeated whole."""
READ_ONLY = "25006"
"""What a standby answers during a failover."""
ENDED_FOR_IDLING = "25P03"
"""What a process hears that was stopped in mid-transaction and is let go on: its session is gone, nothing committed."""
INTERNAL_MESSAGES = {
    READ_ONLY: "The database is read-only now. Try again shortly.",
    ENDED_FOR_IDLING: "The database gave up waiting for this process, which had stopped. Try again shortly.",
}


def is_conflict(error: BaseException) -> bool:
    """Tell whether repeating the whole transaction is the cure."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in CONFLICTS


@contextmanager
def translated() -> Iterator[None]:
    """Turn a database that is away, full or read-only into a clear 503; leave programming errors as they are."""
    try:
        yield
    except (OperationalError, InterfaceError, PendingRollbackError) as error:
        if is_conflict(error):
            raise
        reason = str(getattr(error, "orig", error)).strip().splitlines()
        raise Unavailable(
            f"The database cannot do this now ({reason[0] if reason else 'no answer'}). Try again shortly.",
            code="database_unavailable",
            retry_after=5,
        ) from error
    except InternalError as error:
        message = INTERNAL_MESSAGES.get(getattr(error.orig, "sqlstate", None) or "")
        if message is None:
            raise
        raise Unavailable(message, code="database_unavailable", retry_after=5) from error
    except PoolTimeout as error:
        raise Unavailable("The database is busy. Try again shortly.", code="database_busy", retry_after=1) from error
