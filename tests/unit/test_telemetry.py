"""Nothing secret passes into a log line, whoever wrote it."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from app import telemetry
from app.settings import Settings

CANARY = "canary-key-8f3a2b"


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, before = root.handlers, root.level, structlog.get_config()
    yield
    root.handlers, root.level = handlers, level
    structlog.configure(**before)


SECRETS = [
    f"the key is {CANARY}",
    "rly_2dPztI5v2Ap6UE4UVBNzRuME1ST9Uz79t4FbBVY",
    "/v1/jobs/%20rly_2dPztI5v2Ap6UE4UVBNzRuME1ST9Uz79t4FbBVY",
    "xrly_2dPztI5v2Ap6UE4UVBNzRuME1ST9Uz79t4FbBVY",
    "/v1/jobs/x%3Fsignature%3D0123abcd",
    "made whsec_2dPztI5v2Ap6/UE4UVBNzRuME1ST9Uz79t4FbBVY+abc=",
    "Authorization: Bearer abc.def-123",
    "GET /v1/jobs/job_1/content?variant=video&signature=0123abcd",
    "postgresql://reelay:hunter22@db/reelay",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg",
    "Authorization%3A%20BEARER%20abc.def-123",
    "basic%2520abc.def-123",
    "/v1/jobs/x?next=%2Fcontent%3Fsig%253D0123abcd",
    "redis://:hunter22@cache:6379",
    "redis://:8000/hunter22@cache:6379",
    "postgresql://reelay:p@ss/hunter22@db/reelay",
    "DATA:image/png;base64,iVBORw0KGgoAAAANSUhEUg",
    "data:text/plain;charset=utf-8;name=a.b;base64,iVBORw0KGgoAAAANSUhEUg",
    '{"token": "0123abcd"}',
    '{\\"API_KEY\\" : \\"0123abcd\\"}',
    "{'password': '0123abcd'}",
    "it brought eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2.c2lnbmF0dXJlaXQ",
    "it brought eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiI0123abcd",
    "/v1/jobs/rly%5f2dPztI5v2Ap6UE4UVBNzRuME1ST9Uz79t4FbBVY",
    "/v1/jobs/rly%255F2dPztI5v2Ap6UE4UVBNzRuME1ST9Uz79t4FbBVY",
    "key=%63anary-key%2D8f3a2b",
    "key=%2563anary-key-8f3a2b",
]
LEAKS = [CANARY, "c2lnbmF0dXJl", "2dPztI5v2Ap6", "abc.def-123", "0123abcd", "hunter22", "iVBORw0KGgo"]


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


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:8000/v1/jobs?limit=5",
        "50 % of the tokens",
        "a token: 7",
        "mailto:someone@example.com",
        "a%20b",
    ],
)
def test_log__keeps_what_is_no_secret(text: str) -> None:
    assert telemetry.Redactor([CANARY]).clean(text) == text


@pytest.mark.parametrize("path", ["/v1/jobs/job_1", SECRETS[2], f"/v1/{CANARY}", "/a%0Ab\u2028é"])
def test_lean_line__is_the_line_that_the_processors_write(capfd: pytest.CaptureFixture[str], path: str) -> None:
    telemetry.configure(style="json", literals=[CANARY])
    lean = telemetry.lean_lines()
    assert lean is not None
    said, facts = {"request_id": "r1", "method": "GET", "path": path}, {"status": None, "duration_ms": 1.5}
    lean.write("request_served", said=said, facts=facts)
    structlog.get_logger().info("request_served", **said, **facts)
    ours, theirs = capfd.readouterr().err.rstrip("\n").split("\n")
    stamped = json.loads(ours)["timestamp"]
    assert ours == theirs.replace(json.loads(theirs)["timestamp"], stamped)
    assert stamped.endswith("Z") and len(stamped) == len("2026-11-26T04:24:00.760742Z")


def test_lean_lines__are_for_json_at_level_info_while_nobody_set_up_others() -> None:
    telemetry.configure(style="json")
    assert telemetry.lean_lines() is not None
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    assert telemetry.lean_lines() is None
    for style, level in (("console", "info"), ("json", "warning")):
        telemetry.configure(style=style, level=level)
        assert telemetry.lean_lines() is None


def test_literals__are_all_secrets_of_the_settings(tmp_path: Path) -> None:
    held = Settings.load(
        data_dir=tmp_path,
        upstream_api_key="the-upstreams-own",
        database_url="postgresql://reelay:p%40ss-word@db/reelay",
        database_listen_url="postgresql://reelay:direct-word@db/reelay",
        signing_secret="0123456789abcdef0123456789abcdef",
    )
    assert set(held.literals()) == {
        "the-upstreams-own", "p@ss-word", "direct-word", "0123456789abcdef0123456789abcdef",
    }  # fmt: skip
    made = Settings.load(data_dir=tmp_path)
    assert made.literals() == [(tmp_path / "signing-secret").read_text()]
