"""Identifiers: a prefix that names the thing and a uuid7, so that ids sort by the time they were made."""

from typing import Literal

import uuid_utils

Prefix = Literal["job", "file", "evt", "proj", "key", "echo", "tok", "act", "hook", "dlv"]


def new_id(prefix: Prefix) -> str:
    """Return a fresh id such as `job_0197…`."""
    return f"{prefix}_{uuid_utils.uuid7().hex}"
