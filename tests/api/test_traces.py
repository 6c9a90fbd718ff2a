"""The first span of a job's trace, and the trace that the job keeps."""

from collections.abc import Iterator

import httpx2
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from app import tracing
from app.db import jobs
from app.db.engine import Database
from tests.factories import INPUT

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLERS = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def database_kind() -> str:
    """Decided at the front door, whatever database lies behind it."""
    return "sqlite"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    monkeypatch.setattr(tracing, "_provider", None)  # put back afterwards
    kept = InMemorySpanExporter()
    tracing.export_to(SimpleSpanProcessor(kept))
    yield kept


def kept_by(database: Database, job_id: str) -> str | None:
    with database.transaction() as conn:
        job = jobs.find(conn, job_id)
    assert job is not None
    return job.traceparent


async def test_create__goes_on_with_the_callers_trace(
    client: httpx2.AsyncClient, database: Database, spans: InMemorySpanExporter
) -> None:
    sent = {"traceparent": CALLERS, "baggage": "secret=baggage-value", "Idempotency-Key": "k"}
    with capture_logs(processors=[merge_contextvars]) as lines:
        made = [await client.post("/v1/jobs", json={"input": INPUT}, headers=sent) for _ in range(2)]
        await client.get("/healthz")
        refused = await client.post("/v1/jobs", json={"input": {}}, headers=sent)
    first, replay, refusal = spans.get_finished_spans()
    assert first.parent is not None and first.context is not None
    assert (f"{first.context.trace_id:032x}", f"{first.parent.span_id:016x}") == (TRACE, SPAN)
    job_id = made[0].json()["id"]
    assert kept_by(database, job_id) == f"00-{TRACE}-{first.context.span_id:016x}-01"
    told = {"http.request.method": "POST", "http.route": "/v1/jobs", "http.response.status_code": 201}
    assert first.attributes == told | {"reelay.job.id": job_id, "reelay.outcome": "made"}
    assert (replay.attributes or {})["reelay.outcome"] == "replayed"
    code = refused.json()["error"]["code"]
    assert refusal.attributes == told | {
        "http.response.status_code": 422, "reelay.outcome": "refused", "reelay.error.code": code,
    }  # fmt: skip
    assert refusal.status.is_unset
    served = [line.get("trace_id") for line in lines if line["event"] == "request_served"]
    assert served == [TRACE, TRACE, None, TRACE]


@pytest.mark.parametrize(
    "rubbish", ["x" * 5000, f"00-{'0' * 32}-{SPAN}-01", "00-%00-\u00e9-01", f"ff-{TRACE}-{SPAN}-01"]
)
async def test_create__begins_a_trace_where_the_callers_is_rubbish(
    client: httpx2.AsyncClient, database: Database, spans: InMemorySpanExporter, rubbish: str
) -> None:
    headers = {"traceparent": rubbish.encode("latin-1")}
    made = await client.post("/v1/jobs", json={"input": INPUT}, headers=headers)
    [span] = spans.get_finished_spans()
    assert (made.status_code, span.parent) == (201, None)
    assert span.context is not None
    assert (kept_by(database, made.json()["id"]) or "").split("-")[1] == f"{span.context.trace_id:032x}"


async def test_retry__has_a_trace_of_its_own(
    client: httpx2.AsyncClient, database: Database, spans: InMemorySpanExporter
) -> None:
    made = (await client.post("/v1/jobs", json={"input": INPUT})).json()["id"]
    await client.post(f"/v1/jobs/{made}/cancel")
    again = await client.post(f"/v1/jobs/{made}/retry", headers={"traceparent": CALLERS})
    assert again.status_code == 201
    assert (kept_by(database, again.json()["id"]) or "").startswith(f"00-{TRACE}-")
    assert (spans.get_finished_spans()[-1].attributes or {})["http.route"] == "/v1/jobs/{job_id}/retry"


async def test_create__keeps_no_trace_while_none_is_wanted(client: httpx2.AsyncClient, database: Database) -> None:
    made = await client.post("/v1/jobs", json={"input": INPUT}, headers={"traceparent": CALLERS})
    assert kept_by(database, made.json()["id"]) is None


async def test_framework__adds_no_spans_of_its_own(client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would hold the query strings of signed links, if anything in the process had set a provider for all."""
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    assert (await client.get("/v1/jobs?signature=s")).status_code in (200, 400)
    assert kept.get_finished_spans() == ()
