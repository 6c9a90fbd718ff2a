"""One trace a job: what the workers add to the request that made it, and what they never say."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from app import tracing
from app.db import access, webhooks
from app.domain.sealing import Sealer
from app.domain.secrets import DEFAULT_SCOPES
from app.domain.signing import Signer
from app.outbound.guard import Guard
from app.workers.deliver import Deliverer, Sending
from tests.canary import UPSTREAM_KEY
from tests.receiver import Receiver, receiving, status
from tests.workers.conftest import T0, Room

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SEALER = Sealer(b"a secret for tests")


@pytest.fixture
def database_kind() -> str:
    """What is traced does not depend on the database."""
    return "sqlite"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    monkeypatch.setattr(tracing, "_provider", None)  # put back afterwards
    kept = InMemorySpanExporter()
    tracing.export_to(SimpleSpanProcessor(kept))
    return kept


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as listening:
        yield listening


def postman(room: Room, receiver: Receiver) -> Deliverer:
    """Give the project an endpoint for the end of its jobs, and return who sends to it."""
    with room.db.transaction() as conn:
        key, _ = access.create_key(conn, project_id=room.project_id, name="k", scopes=DEFAULT_SCOPES, now=T0)
        webhooks.create(conn, key, url=receiver.url("/hook?token=url-secret"), events=["job.succeeded"],
                        sealer=SEALER, now=T0)  # fmt: skip
    sending = Sending(
        guard=Guard([receiver.place]), sealer=SEALER, signer=Signer(b"a secret for tests"),
        public_url="https://reelay.test", retention=timedelta(days=30),
    )  # fmt: skip
    return Deliverer(room.db, sending, chance=lambda: 0.5)


async def test_journey__is_one_trace_without_secrets(
    room: Room, receiver: Receiver, spans: InMemorySpanExporter
) -> None:
    post = postman(room, receiver)
    receiver.answers(status(500), status(500), status(200))
    job = await room.create("A prompt to hide [[fault:truncated-video=1]]", traceparent=PARENT, subject="eve-subject")
    untraced = await room.create("Another")
    with capture_logs(processors=[merge_contextvars]) as lines:
        await room.to_the_end(rounds=6)
        for _ in range(4):
            await post.run_once()
            await post.crew.drain()
            room.clock.pass_seconds(3600)
    seen = spans.get_finished_spans()
    assert [(span.name, (span.attributes or {})["reelay.outcome"]) for span in seen] == [
        ("submit", "accepted"), ("generate", "completed"), ("save", "put_off"), ("save", "saved"),
        ("deliver", "failed"), ("deliver", "delivered"),
    ]  # fmt: skip
    of_trace = {(f"{s.context.trace_id:032x}", f"{s.parent.span_id:016x}") for s in seen if s.context and s.parent}
    assert of_trace == {tuple(PARENT.split("-")[1:3])}
    assert {(s.attributes or {})["reelay.job.id"] for s in seen} == {job.id}
    generated = seen[1]
    assert (generated.attributes or {})["reelay.polls"] == 1
    assert (generated.end_time or 0) - (generated.start_time or 0) == 11 * 10**9
    everything = "".join(span.to_json() for span in seen)
    for secret in ("A prompt", "eve-subject", "url-secret", "://", UPSTREAM_KEY, "whsec_", "token="):
        assert secret not in everything
    told = {line["job_id"]: line.get("trace_id") for line in lines if line["event"] == "video_saved"}
    assert told == {job.id: PARENT.split("-")[1], untraced.id: None}
    assert all("traceparent" not in got.headers for got in receiver.received)


async def test_work__that_breaks_is_marked_without_its_words(spans: InMemorySpanExporter, room: Room) -> None:
    job = await room.create(traceparent=PARENT)

    async def broken() -> None:
        raise RuntimeError("secret words")

    with pytest.raises(RuntimeError):
        await tracing.within(broken(), "save", job=job)
    [span] = spans.get_finished_spans()
    assert (span.status.is_ok, (span.attributes or {})["error.type"]) == (False, "RuntimeError")
    assert "secret words" not in span.to_json()
