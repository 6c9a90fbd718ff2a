"""The compose file and the Dockerfile against the specification, the settings, and what was promised about them."""

import fnmatch
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from app.main import DRAIN_SLACK_SECONDS, LONGEST_POST, SERVING
from app.settings import Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text("utf-8")
COMPOSE = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "reelay" in service["image"]}
BUYERS = [name for name, service in OURS.items() if "upstream_api_key" in service.get("secrets", [])]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
EXAMPLE = (ROOT / ".env.example").read_text("utf-8")
OF_COMPOSE = {"REELAY_IMAGE", "REELAY_PORT"}
"""What only the compose file reads: the image's name and the port on this machine."""


def variables(name: str) -> Iterator[str]:
    """The names that a value such as `${A:-${B}}` reads."""
    yield from re.findall(r"\$\{(\w+)", name)


def seconds(span: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(s|m)", span).groups()
    return float(number) * {"s": 1, "m": 60}[unit]


def test_compose__fits_the_specification() -> None:
    """compose-spec.json is the Compose Specification (Apache-2.0), as Docker Compose 2.40.3 carries it."""
    schema = json.loads(Path(__file__).with_name("compose-spec.json").read_text("utf-8"))
    found = jsonschema_rs.validator_for(schema).iter_errors(COMPOSE)
    assert [(list(error.instance_path), error.message) for error in found] == []


def test_compose__roles_run_one_image() -> None:
    assert {"migrate", "api", "worker", "sqlite", "sandbox"} == OURS.keys()
    assert len({service["image"] for service in OURS.values()}) == 1


def test_compose__names_only_settings_that_exist() -> None:
    known = {f"REELAY_{name.upper()}" for name in Settings.model_fields}
    for service in OURS.values():
        assert {name.removesuffix("_FILE") for name in service["environment"]} <= known
    assert set(variables(TEXT)) <= known | OF_COMPOSE
    assert set(variables(TEXT)) >= OF_COMPOSE


def test_compose__env_file_undoes_nothing() -> None:
    """A copy of .env.example as .env holds no secret, and moves no data: what compose fixes goes before it."""
    given = set(re.findall(r"^(REELAY_\w+)=.", EXAMPLE, re.MULTILINE))
    fixed = {name: {key.removesuffix("_FILE") for key in service["environment"]} for name, service in OURS.items()}
    assert "REELAY_DATA_DIR" in given.intersection(*fixed.values())
    assert given.isdisjoint({"REELAY_UPSTREAM_API_KEY", "REELAY_DATABASE_URL", "REELAY_SIGNING_SECRET"})
    assert [name for name, service in OURS.items() if not service["env_file"]] == ["sandbox"]
    assert [entry["path"] for entry in OURS["api"]["env_file"]] == [".env", "secrets/s3.env"]
    assert not any(entry["required"] for entry in OURS["api"]["env_file"])


@pytest.mark.parametrize("name", BUYERS)
def test_compose__stop_outlasts_a_paid_request(name: str) -> None:
    submit_timeout = float(Settings.model_fields["submit_timeout_seconds"].default)
    drain = LONGEST_POST * submit_timeout + DRAIN_SLACK_SECONDS + SERVING["timeout_graceful_shutdown"]
    assert seconds(SERVICES[name]["stop_grace_period"]) > drain


def test_compose__only_buyers_hold_the_key() -> None:
    assert BUYERS == ["worker", "sqlite"]


def test_compose__secrets_are_files_and_none_is_in_the_repository() -> None:
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"secrets/{name}"}
    assert "secrets/" in (ROOT / ".gitignore").read_text("utf-8").splitlines()
    for name, service in SERVICES.items():
        environment = service.get("environment", {})
        telling = re.compile(r"(KEY|SECRET|PASSWORD|DATABASE_URL)$")
        assert [key for key in environment if telling.search(key)] == [], name
        named = {value.rpartition("/")[2] for key, value in environment.items() if key.endswith("_FILE")}
        assert named <= set(service.get("secrets", [])), name


@pytest.mark.parametrize("name", SERVICES)
def test_compose__every_service_is_contained(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert any(mount.startswith("/tmp") for mount in service["tmpfs"])
    assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")
    assert not service.get("privileged")
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_compose__api_and_worker_share_data_and_wait_for_the_migration() -> None:
    api, worker = SERVICES["api"], SERVICES["worker"]
    assert api["volumes"] == worker["volumes"] == ["data:/data"]
    for service in (api, worker):
        assert service["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert worker["command"] == ["worker"]
    assert "--no-worker" in api["command"]


def test_compose__database_is_reached_from_inside_only() -> None:
    assert SERVICES["postgres"]["networks"] == ["database"]
    assert COMPOSE["networks"]["database"] == {"internal": True}


def test_dockerfile__version_is_the_packages() -> None:
    [version] = re.findall(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert f'image.version="{version}"' in DOCKERFILE
    assert f":-reelay:{version}}}" in TEXT


def test_dockerfile__user_is_a_number_and_bases_are_pinned() -> None:
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE) == ["10001:10001"]
    assert re.findall(r"^ARG PYTHON_IMAGE=(.*)$", DOCKERFILE, re.MULTILINE) == ["python:3.13-slim-trixie"]
    for service in SERVICES.values():
        assert not service["image"].endswith(":latest")
        assert ":" in service["image"]


def test_dockerignore__lets_in_what_the_image_is_made_of_and_no_secret() -> None:
    patterns = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line[:1] not in ("", "#")]
    assert patterns[0] == "*"
    allowed = [pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")]
    copied = [
        word for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]
    ]
    assert sorted(allowed) == sorted(copied)
    for path in (".env", "secrets/signing_secret", "data/reelay.db", ".git/config"):
        assert not any(fnmatch.fnmatch(path, pattern) or path.startswith(f"{pattern}/") for pattern in allowed)
