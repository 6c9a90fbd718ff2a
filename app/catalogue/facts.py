"""models.json: the facts of every model, one parameter a line, so that a change is a small diff."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "models.json"
UNIVERSAL_PATH = "/v2/video/generations"
_VENDORS = ("google", "kling", "minimax", "bytedance", "alibaba", "pixverse", "runway")
PATHS = (UNIVERSAL_PATH, *(f"/v2/generate/video/{vendor}/generation" for vendor in _VENDORS))
"""Every path under which the upstream sells."""
SOURCE = "facts of the AI/ML API's public OpenAPI documents"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is documented of one model: its id, developer and path, and the schema of each parameter."""

    id: str
    developer: str
    path: str
    properties: dict[str, dict[str, Any]]
    required: list[str]

    @property
    def input_schema(self) -> dict[str, Any]:
        return {"type": "object", "properties": self.properties, "required": self.required}


def read(file: Path = FILE) -> list[Facts]:
    """Return the facts in the order of the file."""
    return [Facts(**model) for model in json.loads(file.read_text("utf-8"))["models"]]


def write(models: Iterable[Facts], file: Path = FILE) -> None:
    """Write the facts, sorted by id."""
    blocks = ",\n".join(_block(model) for model in sorted(models, key=lambda model: model.id))
    file.write_text('{\n "source": ' + json.dumps(SOURCE) + ',\n "models": [\n' + blocks + "\n ]\n}\n", "utf-8")


def _block(model: Facts) -> str:
    plain = {"id": model.id, "developer": model.developer, "path": model.path, "required": model.required}
    lines = [f"   {json.dumps(name)}: {_line(value)}" for name, value in plain.items()]
    parameters = [f"    {json.dumps(name)}: {_line(schema)}" for name, schema in model.properties.items()]
    held = "{\n" + ",\n".join(parameters) + "\n   }" if parameters else "{}"
    return "  {\n" + ",\n".join([*lines, f'   "properties": {held}']) + "\n  }"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
