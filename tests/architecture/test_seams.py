"""What neither types nor imports hold together: whoever adds to one of two places hears here of the other."""

import inspect
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from app.api.admin_views import ProjectLimits, ProjectView
from app.api.schemas import FileView, JobRequest
from app.cli import access as commands
from app.cli.limits import limits_of
from app.db.access import Project
from app.db.overview import SILENT_AFTER
from app.domain.views import JobView, VideoView

ROOT = Path(__file__).parents[2]
LIMITS = sorted(Project.__dataclass_fields__.keys() - {"id", "name", "created_at", "archived_at"})


def text_of(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


@pytest.mark.parametrize("column", LIMITS)
def test_limit__is_set_and_shown_by_the_api_and_the_page(column: str) -> None:
    name = column.replace("_micros", "_usd")
    assert name in ProjectLimits.model_fields and name in ProjectView.model_fields
    assert f'"{name}"' in text_of("docs/api.md")
    assert f'"{name}"' in text_of("app/web/operator/limits.js")
    assert name in text_of("app/web/operator/project.js")


def test_limits__are_set_by_commands() -> None:
    options = inspect.signature(limits_of).parameters.keys()
    assert sorted(limits_of(**dict.fromkeys(options, "none"))) == LIMITS
    for command in (commands.create_project, commands.limit_project):
        assert inspect.signature(command).parameters.keys() - {"name", "as_json"} == options
    for option in options:
        assert f"`--{option.replace('_', '-')} " in text_of("docs/operations.md")


def test_silence__is_as_long_on_the_page() -> None:
    assert f"ALIVE_SECONDS = {SILENT_AFTER.total_seconds():g};" in text_of("app/web/operator/overview.js")


@pytest.mark.parametrize(
    ("interface", "model"), [("Job", JobView), ("Video", VideoView), ("Order", JobRequest), ("StoredFile", FileView)]
)
def test_client__types_have_the_fields_of_the_api(interface: str, model: type[BaseModel]) -> None:
    [body] = re.findall(rf"^export interface {interface} \{{\n(.*?)^\}}", text_of("app/web/client.d.ts"), re.M | re.S)
    assert set(re.findall(r"^  (\w+)\??:", body, re.MULTILINE)) == model.model_fields.keys()
