"""One line for each request, which ties it to the job that it made or named."""

import httpx2
import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from tests.factories import INPUT


@pytest.fixture
def database_kind() -> str:
    """Decided at the front door, whatever database lies behind it."""
    return "sqlite"


async def test_request__leaves_one_line_with_its_ids(client: httpx2.AsyncClient) -> None:
    with capture_logs(processors=[merge_contextvars]) as lines:
        made = await client.post("/v1/jobs", json={"input": INPUT}, headers={"X-Request-Id": "req-a"})
        job_id = made.json()["id"]
        await client.get(f"/v1/jobs/{job_id}?wait=1", headers={"X-Request-Id": "req-b"})
        await client.get("/healthz")
    told = ("request_id", "job_id", "method", "route", "status", "log_level")
    assert [tuple(line.get(name) for name in told) for line in lines if line["event"] == "request_served"] == [
        ("req-a", job_id, "POST", "/v1/jobs", 201, "info"),
        ("req-b", job_id, "GET", "/v1/jobs/{job_id}", 200, "info"),
        (lines[-1]["request_id"], None, "GET", "/healthz", 200, "debug"),
    ]
    assert all(line["duration_ms"] > 0 and "wait" not in line["path"] for line in lines)
