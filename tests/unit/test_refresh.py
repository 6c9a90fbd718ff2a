"""The catalogue brought up to date from OpenAPI documents."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.catalogue import facts, refresh
from app.catalogue.catalogue import Model
from app.catalogue.facts import Facts
from app.catalogue.openapi import NotUsable, cleaned, models_of

DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.0",
    "paths": {
        "/v2/generate/video/acme/generation": {
            "post": {
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "required": ["model", "prompt"],
                                "properties": {"model": {"enum": ["acme/film"]}, "prompt": {"type": "integer"}},
                            }
                        }
                    }
                }
            }
        },
        "/v2/video/generations": {
            "post": {
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Any"}}}}
            },
            "get": {"responses": {}},
        },
        "/v2/logs": {"get": {"responses": {}}},
    },
    "components": {
        "schemas": {
            "Any": {"oneOf": [{"$ref": "#/components/schemas/Film"}, {"$ref": "#/components/schemas/Clip"}]},
            "Film": {
                "type": "object",
                "description": "Prose.",
                "required": ["model", "prompt"],
                "properties": {
                    "model": {"type": "string", "enum": ["acme/film", "acme/film-fast"]},
                    "prompt": {"type": "string", "description": "Prose.", "maxLength": 500},
                    "image_url": {"type": "string", "format": "uri", "required": True, "example": "x"},
                    "sound_url": {"type": "string", "description": "A link."},
                    "steps": {"type": "array", "nullable": True, "items": {"$ref": "#/components/schemas/Step"}},
                },
            },
            "Clip": {
                "allOf": [{"$ref": "#/components/schemas/Prompted"}],
                "properties": {
                    "model": {"type": "string", "const": "clip"},
                    "tail": {"anyOf": [{"type": "string", "format": "uri"}, {"nullable": True}]},
                },
                "required": ["model"],
            },
            "Prompted": {"type": "object", "properties": {"prompt": {"type": "string"}}, "required": ["prompt"]},
            "Step": {"type": "object", "properties": {"at": {"type": "integer", "minimum": 0}}, "required": ["at"]},
        }
    },
}


def test_models_of__reads_unions_references_and_what_all_of_adds() -> None:
    found = {(model.id, model.path): model for model in models_of(DOCUMENT)}
    assert {id_ for id_, _ in found} == {"acme/film", "acme/film-fast", "clip"}
    film = found["acme/film-fast", "/v2/video/generations"]
    assert film.required == ["prompt", "image_url"]
    assert film.properties["prompt"] == {"type": "string", "maxLength": 500}
    assert film.properties["image_url"] == {"type": "string", "format": "uri"}
    assert film.properties["sound_url"] == {"type": "string", "format": "uri"}
    assert film.properties["steps"]["type"] == ["array", "null"]
    assert film.properties["steps"]["items"]["required"] == ["at"]
    clip = found["clip", "/v2/video/generations"]
    assert clip.required == ["prompt"]
    assert clip.properties["tail"]["anyOf"][1] == {"type": "null"}
    Model(film.id, "Acme", film.path, film.input_schema).check({"prompt": "x", "image_url": "y", "steps": None})


def test_cleaned__refuses_what_never_ends() -> None:
    document = {"a": {"type": "object", "properties": {"again": {"$ref": "#/a"}}}}
    with pytest.raises(NotUsable, match="nested too deeply"):
        cleaned({"$ref": "#/a"}, document)
    with pytest.raises(NotUsable, match="does not hold"):
        cleaned({"$ref": "#/b"}, document)


def test_refreshed__prefers_the_universal_path_and_keeps_known_developers() -> None:
    old = Facts("acme/old", "Acme Corporation", "/v2/video/generations", {}, [])
    models = refresh.refreshed([old], models_of(DOCUMENT))
    assert models["acme/old"] == old
    assert models["acme/film"].path == "/v2/video/generations"
    assert models["acme/film"].developer == "Acme Corporation"
    assert models["clip"].developer == "clip"


def test_main__writes_what_changed_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "models.json"
    facts.write([Facts("clip", "Acme", "/v2/video/generations", {}, [])], file)
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "acme.json").write_text(json.dumps(DOCUMENT), "utf-8")
    assert refresh.main([str(tmp_path / "documents")], file=file) == 0
    assert capsys.readouterr().out.splitlines() == [
        "added: acme/film",
        "added: acme/film-fast",
        "changed: clip",
        "3 models, 3 of them in these documents.",
    ]
    assert [model.id for model in facts.read(file)] == ["acme/film", "acme/film-fast", "clip"]
    before = file.read_text("utf-8")
    (tmp_path / "broken.json").write_text("{", "utf-8")
    assert refresh.main([str(tmp_path / "broken.json")], file=file) == 1
    assert "Nothing was changed" in capsys.readouterr().err
    assert file.read_text("utf-8") == before
