"""OpenTelemetry traces, if an operator asks for them: one a job, from the request that made it to its last delivery.

The job carries its trace as a `traceparent` (W3C Trace Context), so that any process may go on with it hours later.
Off, nothing of the SDK is loaded. We use a provider of our own, never the global one: no library may add spans.
"""

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from app.domain.errors import ReelayError
from app.domain.job import Job

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

T = TypeVar("T")
log = structlog.get_logger(__name__)
STOP_SECONDS = 2.0
"""How long a stop waits for the last spans to leave: a collector that hangs must not hold it up."""
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_provider: "TracerProvider | None" = None
_current: "ContextVar[Span | None]" = ContextVar("span", default=None)


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Tell whether the standard variables name a collector for traces, and none of them says no."""
    off = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    off = off or environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"
    return not off and any(environ.get(name, "").strip() for name in ENDPOINTS)


def start() -> None:
    """Begin to trace if the environment asks for it; what keeps us from it is one warning, never a refusal to start."""
    if not is_wanted(os.environ):
        return
    protocol = next((given for name in PROTOCOLS if (given := os.environ.get(name, "").strip())), "http/protobuf")
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    if (protocol, exporter) != ("http/protobuf", "otlp"):
        hint = "Traces leave by OTLP over HTTP only: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or leave it out."
        log.warning("tracing_unavailable", hint=hint, protocol=protocol, exporter=exporter)
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        log.warning("tracing_unavailable", hint="Install requirements-otel.lock (the extra `otel`), or unset OTEL_*.")
        return
    try:
        export_to(BatchSpanProcessor(OTLPSpanExporter()))
    except Exception as error:  # noqa: BLE001  # a slip in the collector's settings must not end the service
        log.warning("tracing_unavailable", hint="Mend the OTEL_* variables.", error=str(error))


def export_to(processor: Any) -> None:
    """Trace from now on, and give finished spans to an OpenTelemetry span processor."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

    global _provider  # noqa: PLW0603  # as the logs, set up once for the process
    named = Resource.create({"service.name": "reelay"}).merge(OTELResourceDetector().detect())
    _provider = TracerProvider(resource=named, shutdown_on_exit=False)
    _provider.add_span_processor(processor)


async def stop() -> None:
    """Send what is left, for a moment; then trace no more."""
    global _provider
    provider, _provider = _provider, None
    if provider is not None:
        # A thread that nobody waits for at the end of the process: an export may be stuck for its whole time-out.
        ending = threading.Thread(target=provider.shutdown, name="tracing-stop", daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, STOP_SECONDS)


def traceparent() -> str | None:
    """Return the span that is under way, as a job keeps it; None where nothing is traced."""
    span = _current.get()
    if span is None:
        return None
    about = span.get_span_context()
    return f"00-{about.trace_id:032x}-{about.span_id:016x}-{about.trace_flags:02x}"


def note(**attributes: str | int | None) -> None:
    """Say more about the span that is under way. Never a prompt, an address, a key or a subject."""
    span = _current.get()
    if span is not None:
        span.set_attributes(_named(attributes))


@contextmanager
def serving(name: str, *, traceparent: str | None) -> Iterator[bool]:
    """Trace what a caller asked for, within the caller's own trace if the header `traceparent` is sound."""
    if _provider is None:
        yield False
        return
    from opentelemetry.trace import SpanKind  # noqa: PLC0415

    span = _start(name, parent=traceparent, kind=SpanKind.SERVER)
    with _under_way(span):
        yield True


def within(work: Coroutine[Any, Any, T], name: str, *, job: Job | None, **attributes: str | int | None) -> Any:
    """Return the work, traced as a part of its job. It is the work itself where the job is not traced."""
    if _provider is None or job is None or job.traceparent is None:
        return work
    return _traced(work, name, job, attributes)


async def _traced(work: Coroutine[Any, Any, T], name: str, job: Job, attributes: Mapping[str, str | int | None]) -> T:
    span = _start(name, parent=job.traceparent)
    span.set_attributes(_of(job) | _named(attributes))
    with _under_way(span):
        return await work


def passed(name: str, *, job: Job, began_at: datetime, ended_at: datetime, **attributes: str | int | None) -> None:
    """Trace a part of the job that is over, and that nobody stood by from its beginning to its end."""
    if _provider is None or job.traceparent is None:
        return
    span = _start(name, parent=job.traceparent, start_time=_nanoseconds(began_at))
    span.set_attributes(_of(job) | _named(attributes))
    span.end(_nanoseconds(max(began_at, ended_at)))


def _start(name: str, *, parent: str | None, **given: Any) -> "Span":
    if _provider is None:
        from opentelemetry.trace import INVALID_SPAN  # noqa: PLC0415  # it was stopped a moment ago

        return INVALID_SPAN
    return _provider.get_tracer("reelay").start_span(name, context=_parent(parent), **given)


def _parent(traceparent: str | None) -> "Context":
    """Return the context to go on in. Neither baggage nor a tracestate is taken from anybody."""
    from opentelemetry.context import Context  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    carrier = {} if traceparent is None else {"traceparent": traceparent}
    return TraceContextTextMapPropagator().extract(carrier, context=Context())


@contextmanager
def _under_way(span: "Span") -> Iterator[None]:
    # Left bound at the end: the line that tells of a request, or of work that broke, comes after it.
    structlog.contextvars.bind_contextvars(trace_id=f"{span.get_span_context().trace_id:032x}")
    token = _current.set(span)
    try:
        yield
    except asyncio.CancelledError:
        span.set_attributes(_named({"outcome": "cut_off"}))
        raise
    except Exception as error:
        # Its text may hold anything. What a caller may be told is no fault, unless it is our side's.
        if not isinstance(error, ReelayError) or error.status >= 500:
            _mark(span, type(error).__name__)
        raise
    finally:
        _current.reset(token)
        span.end()


def _mark(span: "Span", error: str) -> None:
    from opentelemetry.trace import StatusCode  # noqa: PLC0415

    span.set_attribute("error.type", error)
    span.set_status(StatusCode.ERROR)


def _of(job: Job) -> dict[str, str | int]:
    return _named({"job__id": job.id, "model": job.model, "project__id": job.project_id})


def _named(attributes: Mapping[str, str | int | None]) -> dict[str, str | int]:
    """Return what is known, under our own prefix but for names that OpenTelemetry has laid down."""
    return {
        name if name.startswith("http.") else f"reelay.{name.replace('__', '.')}": value
        for name, value in attributes.items()
        if value is not None
    }


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1e6) * 1000
