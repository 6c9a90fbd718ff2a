"""Single byte ranges (RFC 9110, section 14). What is malformed, or asks for several, is ignored as the RFC allows."""

import re
from dataclasses import dataclass

from app.domain.errors import RangeNotSatisfiable

_SINGLE = re.compile(r"bytes=\s*(?:([0-9]+)-([0-9]*)|-([0-9]+))\s*", re.IGNORECASE)
_LONGEST = 18


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes from `start` up to, not including, `end`."""

    start: int
    end: int

    def content_range(self, size: int) -> str:
        return f"bytes {self.start}-{self.end - 1}/{size}"


def requested(header: str | None, *, size: int) -> Span | None:
    """Return the part asked for, None for the whole; raise RangeNotSatisfiable if nothing lies within the object."""
    found = _SINGLE.fullmatch(header or "")
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        start, end = max(0, size - _number(suffix)), size
    else:
        start, end = _number(first), size
        if last:
            if _number(last) < start:
                return None
            end = min(size, _number(last) + 1)
    if start >= end:
        raise RangeNotSatisfiable(
            f"The range lies outside of the {size} bytes there are.", headers={"Content-Range": f"bytes */{size}"}
        )
    return Span(start, end)


def _number(digits: str) -> int:
    return int(digits) if len(digits) <= _LONGEST else 10**_LONGEST
