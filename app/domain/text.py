"""Foreign text made safe to store and to show."""

import re

MAX_LENGTH = 500
_DATA_URI = re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w=.+-]+)*,[A-Za-z0-9+/=_%.-]*")


def clean(text: object, *, limit: int = MAX_LENGTH) -> str:
    """Return `text` without NUL, lone surrogates or data URIs, at most `limit` characters long."""
    cleaned = str(text).replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    cleaned = _DATA_URI.sub("data:…", cleaned[: 8 * limit]).strip()
    return cleaned if len(cleaned) <= limit else cleaned[: limit - 1] + "…"


def storable(text: str) -> bool:
    """Tell whether both databases can hold `text` as it is: no NUL and no lone surrogate."""
    if "\x00" in text:
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
