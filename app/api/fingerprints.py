"""What a body says, as a hash: equal for bodies that mean the same, however they were written down."""

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


def of_upload(sha256: str) -> str:
    """Return the hash of a form that holds one file and nothing else, by the file's own."""
    return _hash("upload", sha256)


def of_request(method: str, path: str, *, body: str) -> str:
    """Return the hash of a request by that of its body."""
    return _hash("request", [method, path, body])


def _hash(kind: str, value: Any) -> str:
    written = json.dumps([kind, value], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(written.encode()).hexdigest()
