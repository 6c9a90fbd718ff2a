"""Nothing secret passes into a log line, whoever wrote it."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from app import telemetry

CANARY = "canary-key-8f3a2b"


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


SECRETS = [
    f"the key is {CANARY}",
    "rly_2dPztI5v2Ap6UE4UVBNzRuME1ST9Uz79t4FbBVY",
    "/v1/jobs/%20rly_2dPztI5v2Ap6UE4UVBNzRuME1ST9Uz79t4FbBVY",
    "xrly_2dPztI5v2Ap6UE4UVBNzRuME1ST9Uz79t4FbBVY",
    "/v1/jobs/x%3Fsignature%3D0123abcd",
    "Authorization: Bearer abc.def-123",
    "GET /v1/jobs/job_1/content?variant=video&signature=0123abcd",
    "postgresql://reelay:hunter22@db/reelay",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg",
]
LEAKS = [CANARY, "2dPztI5v2Ap6", "abc.def-123", "0123abcd", "hunter22", "iVBORw0KGgo"]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("ours", [True, False])
def test_log__redacts_secrets(capfd: pytest.CaptureFixture[str], secret: str, ours: bool) -> None:
    telemetry.configure(style="json", literals=[CANARY])
    if ours:
        structlog.get_logger().warning("thing_happened", said=secret, nested={"deep": [secret]})
    else:
        logging.getLogger("library").warning("it said %s", secret)
    written = capfd.readouterr().err
    line = json.loads(written)
    assert "redacted" in written
    assert line["level"] == "warning"
    assert not [leak for leak in LEAKS if leak in written]


def test_log__redacts_tracebacks(capfd: pytest.CaptureFixture[str]) -> None:
    telemetry.configure(style="json", literals=[CANARY])
    try:
        raise RuntimeError(f"rejected {CANARY}")
    except RuntimeError:
        structlog.get_logger().exception("thing_failed")
    written = capfd.readouterr().err
    assert "RuntimeError: rejected [redacted]" in written


def test_log__binds_ids_and_respects_the_level(capfd: pytest.CaptureFixture[str]) -> None:
    telemetry.configure(style="json", level="warning")
    with structlog.contextvars.bound_contextvars(request_id="req_1"):
        structlog.get_logger().info("quiet_thing")
        structlog.get_logger().error("loud_thing")
    [line] = capfd.readouterr().err.splitlines()
    assert json.loads(line)["request_id"] == "req_1"
