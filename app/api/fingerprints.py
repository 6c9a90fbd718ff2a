"""What a body says, or a job is to show, as a hash: equal for what means the same, however it was written down."""

import hashlib
import json
from typing import Any

from app.api.multipart import Form


def of_json(found: Any) -> str:
    """Return the hash of a JSON value; the order of its fields and white space do not matter."""
    return _hash("json", found)


def of_form(form: Form) -> str:
    """Return the hash of a form's names, texts and files; boundary and file names do not matter.

    Nor does the order of parts, but among those of one name: together they are a list.
    """
    files = [(name, hashlib.sha256(data).hexdigest()) for name, data in form.files]
    return _hash("form", [sorted(parts, key=lambda part: part[0]) for parts in (form.texts, files)])


def of_wish(model_id: str, effective: dict[str, Any]) -> str:
    """Return the hash of what a job is to show: a model and its input. A number is the same as 5 and as 5.0."""
    return _hash("wish", [model_id, _plain(effective)])


def _plain(value: Any) -> Any:
    match value:
        case float() if value.is_integer():
            return int(value)
        case list():
            return [_plain(inner) for inner in value]
        case dict():
            return {name: _plain(inner) for name, inner in value.items()}
        case _:
            return value


def of_upload(sha256: str) -> str:
    """Return the hash of a form that holds one file and nothing else, by the file's own."""
    return _hash("upload", sha256)


def of_request(method: str, path: str, *, body: str) -> str:
    """Return the hash of a request by that of its body."""
    return _hash("request", [method, path, body])


def _hash(kind: str, value: Any) -> str:
    written = json.dumps([kind, value], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(written.encode()).hexdigest()
