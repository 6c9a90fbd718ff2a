"""Data URIs (RFC 2397): media that come inside of a text, in base64."""

import base64
import re

from app.domain.errors import MediaError

_HEAD = re.compile(r"data:(\w+)/[\w.+-]+(?:;[\w.+-]+=[\w.+-]+)*;base64", re.ASCII | re.IGNORECASE)
_MAX_HEAD = 200


def decode_data_uri(
    text: str, *, kinds: tuple[str, ...], noun: str, hint: str, max_bytes: int, refusal: type[MediaError]
) -> bytes:
    """Return the bytes of a base64 data URI whose type begins with one of `kinds`; raise `refusal`.

    Tells nothing about the bytes' true kind. `noun` and `hint` are for the sentence of a refusal.
    """
    head, comma, body = text[: _MAX_HEAD + 1].partition(",")
    match = _HEAD.fullmatch(head)
    if not comma or match is None or match[1].lower() not in kinds:
        raise refusal(f"The data URI must look like {hint}.")
    body = text[len(head) + 1 :]
    if len(body) // 4 * 3 - 2 > max_bytes:
        raise refusal(too_large(noun, max_bytes))
    try:
        data = base64.b64decode(body, validate=True)
    except ValueError:
        data = None
    if data is None or len(body) % 4:  # Python lets surplus padding pass
        raise refusal("The data URI is not valid base64.")
    if not data:
        raise refusal("The data URI is empty.")
    if len(data) > max_bytes:
        raise refusal(too_large(noun, max_bytes))
    return data


def too_large(noun: str, max_bytes: int) -> str:
    return f"The {noun} is larger than {max_bytes} bytes."
