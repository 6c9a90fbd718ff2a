"""Provider JSON in, our types out: ids, submissions, generations, the balance, words for status and error."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import httpx2

from app.domain.money import usd_to_micros
from app.domain.text import clean, storable
from app.domain.usage_log import same_generation

Status = Literal["pending", "completed", "failed"]
ErrorCode = Literal["upstream_failed", "content_filtered"]
Scrub = Callable[[object], str]

STATUS_WORDS: dict[str, Status] = {
    # The documented words, and those of the vendors' own samples.
    "queued": "pending",
    "waiting": "pending",
    "active": "pending",
    "generating": "pending",
    "completed": "completed",
    "succeeded": "completed",
    "error": "failed",
}

LONGEST_ID = 255
_LONGEST_URL = 16_384
_LONGEST_MODEL = 200
_MOST_CREDITS = 10**15
_NO_REASON = "The upstream gave no reason."
_SAFETY = re.compile(
    r"safety|unsafe|moderat(?:ion|ed)|polic(?:y|ies)|face[\s_-]*detect|nsfw|content[\s_-]*filter|responsible[\s_-]*ai",
    re.IGNORECASE,
)
_HTTP_URL = re.compile(r"https?://[^\s\x00-\x1f]+", re.IGNORECASE)
_JSON_SPACE = re.compile(r"[ \t\n\r]*")


class Malformed(ValueError):
    """An answer without the shape that its meaning hangs on."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """An accepted submission. `inference_id` is the answer's `x-inference-id`, the usage log's name for it."""

    generation_id: str
    inference_id: str | None = None
    credits: int | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """Where a generation stands. `word` is the upstream's own status word; the error fields are set if it gave one."""

    status: Status
    word: str
    video_url: str | None = None
    credits: int | None = None
    error_code: ErrorCode | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class Balance:
    """What is left on the account, in micro-dollars; None if the answer did not say."""

    micros: int | None


def read_submitted(document: Any, *, body: bytes | bytearray, headers: httpx2.Headers) -> Submitted | None:
    """Read a 2xx answer to a submission; None if no id can be told from it for certain.

    `document` is the body as JSON, or None where it could not be read as such.
    """
    generation_id = stated_id(document) or salvage(body, headers)
    if generation_id is None:
        return None
    reported = _credits(document)
    return Submitted(
        generation_id,
        inference_id=_header_id(headers),
        credits=whole_credits(headers.get("x-aimlapi-credits-used")) if reported is None else reported,
    )


def read_generation(document: Any, *, scrub: Scrub = clean) -> Generation:
    """Read the answer to a fetch; raise Malformed if it does not say how the generation stands.

    A word never seen before means not finished.
    """
    word = document.get("status") if isinstance(document, dict) else None
    if not isinstance(word, str) or not (word := word.strip()):
        raise Malformed("The answer has no status.")
    status = STATUS_WORDS.get(word.lower(), "pending")
    error = document.get("error")
    code, message = None, None
    if error or status == "failed":
        code, message = _error_code(error), scrub(error_text(error) or _NO_REASON)
    return Generation(
        status=status,
        word=scrub(word),
        video_url=_video_url(document.get("video")),
        credits=_credits(document),
        error_code=code,
        error_message=message,
    )


def read_balance(document: Any) -> Balance:
    """Read the billing detail; an answer of another shape still proves that the key works."""
    stated = document.get("current_balance") if isinstance(document, dict) else None
    try:
        return Balance(usd_to_micros(stated)) if stated is not None else Balance(None)
    except ValueError:
        return Balance(None)


def read_page(document: Any, *, of: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return a page's rows and its `pagination`, which says `has_more`; raise Malformed for what is none, whole."""
    rows, pagination = (
        (document.get("data"), document.get("pagination")) if isinstance(document, dict) else (None, None)
    )
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Malformed(f"{of} has no rows.")
    if not isinstance(pagination, dict) or not isinstance(pagination.get("has_more"), bool):
        # Without it nobody can tell whether all of it was read.
        raise Malformed(f"{of} does not say whether it goes on.")
    return rows, pagination


def is_about(document: Any, *, generation_id: str) -> bool:
    """Tell whether an answer may be about this generation: it names it, or none."""
    named = [found for key in ("id", "generation_id") if (found := usable_id(document.get(key)))]
    return not named or any(same_generation(name, generation_id) for name in named)


def stated_id(document: Any) -> str | None:
    """Return the id that an answer gives: the first of `id` and `generation_id` that is usable.

    The first, so that a cut-off copy of the same answer can't give another one (see `salvage`).
    """
    if not isinstance(document, dict):
        return None
    return next((found for key, value in document.items() if (found := _id_of(key, value))), None)


def usable_id(value: Any) -> str | None:
    """Return an id as text, whether it came as text or as a whole number; None for what can't be one."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    # What is printable is also storable: no NUL, no lone surrogate.
    return text if text.strip() and len(text) <= LONGEST_ID and text.isprintable() else None


def salvage(body: bytes | bytearray, headers: httpx2.Headers) -> str | None:
    """Return the id from a cut-off or undecodable 2xx answer, if it can be told for certain.

    `x-inference-id` first, which for a generation is its id; else what stands whole in the body's top level:
    never a string without its closing quote, nor a number that ends the bytes, for either may go on.
    """
    if header_id := _header_id(headers):
        return header_id
    # Bytes that are no UTF-8 become lone surrogates, which `usable_id` refuses.
    text = bytes(body).decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    return next((found for key, value in _members(text) if (found := _id_of(key, value))), None)


def _members(text: str) -> list[tuple[str, Any]]:
    """Return the members of the JSON object that `text` begins with, up to where it breaks off or stops being JSON."""
    decode = json.JSONDecoder(strict=False).raw_decode
    found: list[tuple[str, Any]] = []
    at = _skip_space(text, 0)
    expected = "{"
    while text.startswith(expected, at):
        try:
            key, at = decode(text, _skip_space(text, at + 1))
            at = _skip_space(text, at)
            if not isinstance(key, str) or not text.startswith(":", at):
                break
            value, at = decode(text, _skip_space(text, at + 1))
        except (ValueError, RecursionError):
            break
        at = _skip_space(text, at)
        # A string ends with its quote; that a number is over, only what follows can tell.
        if not isinstance(value, str) and not text.startswith((",", "}"), at):
            break
        found.append((key, value))
        expected = ","
    return found


def _skip_space(text: str, at: int) -> int:
    match = _JSON_SPACE.match(text, at)
    return match.end() if match else at


def _id_of(key: Any, value: Any) -> str | None:
    return usable_id(value) if key in ("id", "generation_id") else None


def _header_id(headers: httpx2.Headers) -> str | None:
    stated = set(headers.get_list("x-inference-id"))
    return usable_id(stated.pop()) if len(stated) == 1 else None


def error_text(error: Any) -> str | None:
    """Return the sentence in any of the error shapes: `{name, message}`, `{detail: [{msg, ...}]}`, text or nothing."""
    sentences = ("message", "msg", "detail")
    for keys in (sentences, (*sentences, "error"), ("name", "type")):
        if texts := _texts(error, keys=keys):
            return "; ".join(texts)
    return None


def _error_code(error: Any) -> ErrorCode:
    """Tell a safety filter's refusal from a failure. What the caller wrote (`input`) is no evidence."""
    telling = _texts(error, keys=("name", "type", "code", "message", "msg", "detail", "error"))
    return "content_filtered" if _SAFETY.search("; ".join(telling)) else "upstream_failed"


def _texts(value: Any, *, keys: tuple[str, ...], depth: int = 5) -> list[str]:
    """Return the texts under `keys`, through objects and lists, no deeper than any sane answer nests them."""
    match value:
        case str():
            return [value.strip()] if value.strip() else []
        case list() if depth:
            return [text for item in value for text in _texts(item, keys=keys, depth=depth - 1)]
        case dict() if depth:
            return [text for key in keys for text in _texts(value.get(key), keys=keys, depth=depth - 1)]
        case _:
            return []


def _video_url(video: Any) -> str | None:
    """Return the link to the result: documented as `{url}`, tolerated as plain text or in a list."""
    return next((url for url in _texts(video, keys=("url",), depth=3) if _is_link(url)), None)


def _is_link(text: str) -> bool:
    return len(text) <= _LONGEST_URL and _HTTP_URL.fullmatch(text) is not None and storable(text)


def _credits(document: Any) -> int | None:
    """Return `meta.usage.credits_used`."""
    for key in ("meta", "usage", "credits_used"):
        if not isinstance(document, dict):
            return None
        document = document.get(key)
    return whole_credits(document)


def whole_credits(value: Any) -> int | None:
    """Return an amount of credits as an integer, rounded up; None for what is no sane amount."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        amount = float(value)
    except (ValueError, OverflowError):
        return None
    return math.ceil(amount) if 0 <= amount <= _MOST_CREDITS else None


def model_name(value: Any) -> str:
    """Return the model that a row of the account is about; empty for what is no storable name."""
    return value[:_LONGEST_MODEL] if isinstance(value, str) and storable(value) else ""


def moment(text: Any) -> datetime | None:
    """Return a time, in UTC where no offset is said; None for what is none."""
    try:
        told = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return told if told.tzinfo else told.replace(tzinfo=UTC)
