"""Origins of web pages (RFC 6454), as browsers send them: scheme, host, and the port unless it is the usual one."""

import re

PATTERN = r"^https?://([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(:[1-9][0-9]{0,4})?$"
_ORIGIN = re.compile(PATTERN.rstrip("$") + r"\Z", re.ASCII)
_USUAL = {"http": ":80", "https": ":443"}


def origin(text: str) -> str:
    """Return the origin as a browser writes it; raise ValueError for what is none, such as `*`, `null` or a path."""
    if not _ORIGIN.match(text):
        raise ValueError(f"{text[:80]!r} is no origin; write one such as https://app.example.com, without a path")
    return text.removesuffix(_USUAL[text.partition(":")[0]])
