"""Where media stand in a model's input: found by the schema, or, of a model without one, by what is given."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

MediaKind = Literal["image", "video", "audio"]
Path = tuple[str | int, ...]

_KINDS: tuple[MediaKind, ...] = ("image", "video", "audio")
_WORDS: dict[str, MediaKind] = {
    "audio": "audio", "video": "video", "alpha": "video", "image": "image", "mask": "image", "frame": "image",
}  # fmt: skip
"""What a parameter's name says it takes. The first of these words counts: `mask_video_url` is a video."""
ATTACHED = "attached:"
"""How a file part of a form stands in an input until it is stored. It is looked up, never trusted."""
_NO_LINK = re.compile(rf"data:\w+/|file_[0-9a-zA-Z]+\Z|{ATTACHED}\d+\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MediaPlace:
    """One link, data URI or file id in an input: where it stands, and what kind of media belongs there.

    `kind` is None where neither schema nor name tells.
    """

    path: Path
    kind: MediaKind | None
    value: str


def kind_taken(name: str, schema: dict[str, Any]) -> MediaKind | None:
    """Return what a parameter takes as a link or a file, alone or in a list; None if it takes none."""
    branches = [schema, *_branches(schema)]
    schemas = [*branches, *(branch["items"] for branch in branches if "items" in branch)]
    return _kind_by_name(name) or "image" if any(map(_is_uri, schemas)) else None


def places(given: dict[str, Any], properties: dict[str, dict[str, Any]]) -> list[MediaPlace]:
    """Return every place of the input where the schema has a URI, however deep."""
    found: dict[Path, MediaPlace] = {}
    for name, value in given.items():
        for place in _walk(value, properties.get(name, {}), path=(name,), kind=_kind_by_name(name) or "image"):
            found.setdefault(place.path, place)  # the branches of a union may agree on one
    return list(found.values())


def guessed(value: Any, path: Path = ()) -> Iterator[MediaPlace]:
    """Yield every data URI and file id in an input that has no schema. Links go upstream as everything else does."""
    match value:
        case str() if _NO_LINK.match(value):
            name = next((step for step in reversed(path) if isinstance(step, str)), "")
            yield MediaPlace(path, _kind_by_name(name), value)
        case list():
            for index, inner in enumerate(value):
                yield from guessed(inner, (*path, index))
        case dict():
            for name, inner in value.items():
                yield from guessed(inner, (*path, name))


def replaced(given: Any, path: Path, value: str) -> Any:
    """Return a copy of the input with another value at the path; what lies aside of it is shared."""
    if not path:
        return value
    step, *rest = path
    copy: Any = given.copy()
    copy[step] = replaced(given[step], tuple(rest), value)
    return copy


def _walk(value: Any, schema: dict[str, Any], *, path: Path, kind: MediaKind) -> Iterator[MediaPlace]:
    for branch in _branches(schema):
        yield from _walk(value, branch, path=path, kind=kind)
    match value:
        case str() if _is_uri(schema):
            yield MediaPlace(path, kind, value)
        case list() if "items" in schema:
            for index, inner in enumerate(value):
                yield from _walk(inner, schema["items"], path=(*path, index), kind=kind)
        case dict():
            # Objects of the kind {"type": "video", "url": ...} say themselves what they hold.
            held = next((known for known in _KINDS if known == value.get("type")), kind)
            for name, inner in value.items():
                inner_schema = schema.get("properties", {}).get(name, {})
                yield from _walk(inner, inner_schema, path=(*path, name), kind=_kind_by_name(name) or held)


def _branches(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [*schema.get("anyOf", ()), *schema.get("oneOf", ())]


def _is_uri(schema: dict[str, Any]) -> bool:
    return schema.get("format") == "uri"


def _kind_by_name(name: str) -> MediaKind | None:
    return next((kind for word, kind in _WORDS.items() if word in name), None)
