"""What this process counts and measures for Prometheus. Below everything else, so that every layer may count.

No label holds a project, a key, a subject or a text of somebody's. Each replica counts for itself.
"""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Literal, ParamSpec, TypeVar

from prometheus_client.metrics import Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import CollectorRegistry

from app.domain.errors import FetchFailed, GenerationUnknown, NotSent, Refused, Unconfirmed, UpstreamFailure

P = ParamSpec("P")
T = TypeVar("T")
Kind = Literal["submit", "poll", "prices", "balance", "log", "transactions"]

disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_CALLS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60, 120)
_WAITS = (0.25, 0.5, 1, 2, 5, 10, 20, 60, 300, 1200, 3600)

REQUESTS = Counter(
    "reelay_http_requests", "Requests answered, by route and status.", ("method", "route", "status"), registry=REGISTRY
)
ANSWER_SECONDS = Histogram(
    "reelay_http_answer_seconds",
    "From a request's head to the head of its answer, without those that asked to wait.",
    ("method", "route"),
    buckets=_SHORT,
    registry=REGISTRY,
)
LIVE_READERS = Gauge("reelay_live_readers", "Open live streams of events.", registry=REGISTRY)
UPSTREAM_CALLS = Counter(
    "reelay_upstream_calls", "Calls to the upstream, by kind and outcome.", ("kind", "outcome"), registry=REGISTRY
)
UPSTREAM_SECONDS = Histogram(
    "reelay_upstream_call_seconds", "How long calls to the upstream took.", ("kind",), buckets=_CALLS, registry=REGISTRY
)
SUBMIT_SECONDS = Histogram(
    "reelay_submit_seconds",
    "From the making of a job to the upstream's taking it.",
    buckets=_WAITS,
    registry=REGISTRY,
)
NOTICE_SECONDS = Histogram(
    "reelay_notice_seconds",
    "From the poll before to the answer that a generation is finished: it was noticed at most so late.",
    buckets=_WAITS,
    registry=REGISTRY,
)
SAVED_BYTES = Counter("reelay_saved_bytes", "Bytes of videos copied into the storage.", registry=REGISTRY)
DELIVERIES = Counter("reelay_deliveries", "Attempts to deliver webhooks.", ("outcome",), registry=REGISTRY)
DELIVERED, NOT_DELIVERED = (DELIVERIES.labels(outcome) for outcome in ("delivered", "failed"))
DUTY_FAILURES = Counter("reelay_duty_failures", "Beats of workers that broke.", ("duty",), registry=REGISTRY)
_TRANSACTIONS = Histogram(
    "reelay_transaction_seconds",
    "Database transactions, with the wait for their turn.",
    ("kind",),
    buckets=_SHORT,
    registry=REGISTRY,
)
READ_SECONDS, WRITE_SECONDS = (_TRANSACTIONS.labels(kind) for kind in ("read", "write"))

_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})
_served: dict[tuple[str, str, int | None], tuple[Counter, Histogram]] = {}


def served(method: str, route: str | None, status: int | None, *, seconds: float | None) -> None:
    """Count an answered request; `route` is the template of its path, `seconds` None for one that asked to wait."""
    # A method of a caller's own invention, or a path, would be a time series for ever.
    seen = (method if method in _METHODS else "other", route or "none", status)
    try:
        counter, histogram = _served[seen]
    except KeyError:
        requests = REQUESTS.labels(*seen[:2], "none" if status is None else str(status))
        counter, histogram = _served[seen] = requests, ANSWER_SECONDS.labels(*seen[:2])
    counter.inc()
    if seconds is not None:
        histogram.observe(seconds)


_FAILURES: dict[type[UpstreamFailure], str] = {
    NotSent: "not_sent",
    Refused: "refused",
    Unconfirmed: "unconfirmed",
    FetchFailed: "failed",
    GenerationUnknown: "unknown",
}
_OF_SUBMIT = ("ok", "not_sent", "refused", "unconfirmed", "broke", "cut_off")
_OF_READ = ("ok", "refused", "failed", "unknown", "broke", "cut_off")


def called(kind: Kind) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
    """Count and time the calls of an async function that speaks with the upstream."""
    seconds = UPSTREAM_SECONDS.labels(kind)
    # All are there from the start: an increase from nothing to one could not be seen.
    counts = {
        outcome: UPSTREAM_CALLS.labels(kind, outcome) for outcome in (_OF_SUBMIT if kind == "submit" else _OF_READ)
    }

    def wrapped(call: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        @functools.wraps(call)
        async def counted(*args: P.args, **kwargs: P.kwargs) -> T:
            began, outcome = time.perf_counter(), "broke"
            try:
                answer = await call(*args, **kwargs)
                outcome = "ok"
                return answer
            except UpstreamFailure as failure:
                outcome = _FAILURES[type(failure)]
                raise
            except asyncio.CancelledError:
                outcome = "cut_off"
                raise
            finally:
                seconds.observe(time.perf_counter() - began)
                counts[outcome].inc()

        return counted

    return wrapped
