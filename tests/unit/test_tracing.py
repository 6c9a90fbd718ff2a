"""When there are traces, when there are none, and that a collector can't harm."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest
from structlog.testing import capture_logs

from app import tracing
from tests.tcp import accepting

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture(autouse=True)
def _off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_provider", None)  # put back afterwards


def test_off__loads_nothing_of_the_sdk() -> None:
    code = (
        "import sys, app.main, app.tracing as t; t.start(); "
        "print([m for m in sys.modules if m.startswith(('opentelemetry.sdk', 'opentelemetry.exporter', 'google.'))])"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    assert subprocess.check_output([sys.executable, "-c", code], env=environment).strip() == b"[]"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "reelay"}, False),
        ({ENDPOINT: "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({ENDPOINT: "http://c:4318", "OTEL_SDK_DISABLED": "True"}, False),
        ({ENDPOINT: "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_is_wanted__as_the_standard_variables_say(given: dict[str, str], wanted: bool) -> None:
    assert tracing.is_wanted(given) is wanted


@pytest.mark.parametrize(
    ("name", "value", "hint"), [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"), ("", "", "requirements-otel")]
)
def test_start__what_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str, hint: str) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    if name:
        monkeypatch.setenv(name, value)
    else:
        monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with capture_logs() as lines:
        tracing.start()
    assert [(line["event"], hint in line["hint"]) for line in lines] == [("tracing_unavailable", True)]
    assert tracing._provider is None


async def test_stop__does_not_wait_for_a_collector_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, let_go = asyncio.Event(), asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await let_go.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async with accepting(silent) as port:
        monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{port}")
        monkeypatch.setattr(tracing, "STOP_SECONDS", 0.2)
        tracing.start()
        with tracing.serving("create job", traceparent=None) as is_traced:
            assert is_traced
        began = time.monotonic()
        await tracing.stop()
        assert time.monotonic() - began < 5
        async with asyncio.timeout(5):
            await asked.wait()
        # A thread that tried again beside other tests would throw dice there, which Hypothesis takes for theirs.
        [ending] = [thread for thread in threading.enumerate() if thread.name == "tracing-stop"]
        let_go.set()
        await asyncio.to_thread(ending.join, 10)
        assert not ending.is_alive()
    assert tracing.traceparent() is None
