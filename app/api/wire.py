"""Bodies as they arrive: read up to a cap, parsed, and refused unless every database and every client can hold them."""

import asyncio
import json
import math
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fastapi import Request

from app.api import fingerprints, multipart
from app.api.multipart import Form
from app.domain.errors import InvalidRequest, PayloadTooLarge, RequestTimeout, UnsupportedMedia
from app.domain.text import storable

T = TypeVar("T")
Object = dict[str, Any]
DEEPEST = 32
LONGEST_NAME = 200
MOST_VALUES = 10_000
LARGEST_INTEGER = 2**63 - 1
INLINE_PARSE_BYTES = 1 << 16
BODY_SECONDS = 300.0
SILENCE_SECONDS = 30.0
"""How long a sender may send nothing of its body."""
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|,|[\[{](?![ \t\n\r]*+[\]}])', re.DOTALL)
"""A whole string, or what another value follows: a comma, or the opening of a list or an object that is not empty."""


async def read_body(request: Request, *, cap: int) -> bytes:
    """Return the whole body; raise PayloadTooLarge as soon as it is known to pass `cap` bytes."""
    body = bytearray()

    async def extend(chunk: bytes) -> None:
        body.extend(chunk)

    await pour(request, extend, cap=cap)
    return bytes(body)


async def pour(request: Request, take: Callable[[bytes], Awaitable[None]], *, cap: int) -> None:
    """Hand the body to `take`, piece by piece; raise PayloadTooLarge as soon as it is known to pass `cap` bytes."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMedia("Compressed bodies are not taken; send it as it is.")
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated[:20]) > cap:
        raise _too_large(cap)
    size = 0
    try:
        async with asyncio.timeout(SILENCE_SECONDS) as limit:
            clock = asyncio.get_running_loop().time
            end = clock() + BODY_SECONDS
            async for chunk in request.stream():
                limit.reschedule(min(end, clock() + SILENCE_SECONDS))
                size += len(chunk)
                if size > cap:
                    raise _too_large(cap)
                await take(chunk)
    except TimeoutError:
        raise RequestTimeout(
            f"The body did not arrive within {BODY_SECONDS:g} seconds, or nothing of it for {SILENCE_SECONDS:g}."
        ) from None


def _too_large(cap: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is larger than {cap} bytes. Send large images by link.")


@dataclass(frozen=True, slots=True)
class ContentType:
    """The media type of a body and its parameters, as sent."""

    kind: str
    header: str

    @classmethod
    def of(cls, request: Request) -> "ContentType":
        header = request.headers.get("content-type", "")
        return cls(header.partition(";")[0].strip().lower(), header)


@dataclass(frozen=True, slots=True)
class Body(Generic[T]):
    """A body as parsed, and the hash of what it says."""

    content: T
    fingerprint: str
    size: int
    """In bytes, as it came."""


async def parse(request: Request, *, cap: int) -> Body[Object] | Body[Form]:
    """Return a JSON object or a form; raise UnsupportedMedia for anything else, before its body is read."""
    content_type = ContentType.of(request)
    match content_type.kind:
        case "application/json":
            body = await read_body(request, cap=cap)
            return await off_loop(len(body), lambda: _json(body))
        case "multipart/form-data":
            body = await read_body(request, cap=cap)
            return await off_loop(len(body), lambda: _form(body, content_type.header))
    raise UnsupportedMedia("Send the job as application/json (curl -H 'Content-Type: application/json') or as a form.")


async def parse_optional(request: Request, *, cap: int) -> Body[Object]:
    """Return a JSON object, empty if there is no body."""
    body = await read_body(request, cap=cap)
    if not body:
        return _json(b"{}")
    if ContentType.of(request).kind != "application/json":
        raise UnsupportedMedia("Send the body as application/json, or none.")
    return await off_loop(len(body), lambda: _json(body))


def _json(body: bytes) -> Body[Object]:
    found = parse_json(body)
    return Body(found, fingerprints.of_json(found), len(body))


def _form(body: bytes, content_type: str) -> Body[Form]:
    form = multipart.parse(body, content_type=content_type)
    return Body(form, fingerprints.of_form(form), len(body))


async def off_loop(size: int, work: Callable[[], T]) -> T:
    """Run `work` on a body here if that is small, else in a thread: megabytes would stop everybody else."""
    return work() if size <= INLINE_PARSE_BYTES else await asyncio.to_thread(work)


def parse_json(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`; raise InvalidRequest, naming the field where one is at fault."""
    found = parse_value(body)
    if not isinstance(found, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_json")
    return found


def parse_value(body: bytes) -> Any:
    """Return the JSON value in `body`; raise InvalidRequest, naming the field where one is at fault."""
    try:
        text = body.decode("utf-8")
        _refuse_crowds(text)
        found = json.loads(text, parse_int=_integer, object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The body is not UTF-8 (byte {error.start}).", code="invalid_encoding") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidRequest(f"The body is no valid JSON: {error.msg} ({place}).", code="invalid_json") from None
    except RecursionError:
        raise _too_deep() from None
    check_values(found)
    return found


def _refuse_crowds(text: str) -> None:
    """Refuse absurd numbers of values before any is made: three bytes of an empty list become seventy."""
    if text.count(",") + text.count("[") + text.count("{") < MOST_VALUES:
        return
    values, strings = 1, 0
    for token in _TOKEN.finditer(text):
        if token[0][0] == '"':
            strings += 1
        else:
            values += 1
        # Every string is a value or the name of one.
        if values > MOST_VALUES or strings > 2 * MOST_VALUES:
            raise _too_many()


def _integer(digits: str) -> float | int:
    # Python refuses to read absurdly long integers at all; check_values names the field.
    return int(digits) if len(digits) <= 20 else math.inf


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counted = Counter(name for name, _ in pairs)
        twice = next(name for name in found if counted[name] > 1)
        raise InvalidRequest(f"The field {shown(twice)!r} is given twice.", code="duplicate_field", param=shown(twice))
    return found


def check_values(value: Any) -> None:
    """Raise InvalidRequest, naming the field, for what not every database and client can hold."""
    _check(value, path=(), room=iter(range(MOST_VALUES)))


def _check(value: Any, *, path: tuple[str, ...], room: Iterator[int]) -> None:
    if len(path) > DEEPEST:
        raise _too_deep()
    if next(room, None) is None:
        raise _too_many()
    match value:
        case bool() | None:
            return
        case str():
            _check_text(value, path=path)
        case int():
            if abs(value) > LARGEST_INTEGER:
                raise _out_of_range(path)
        case float():
            if not math.isfinite(value):
                raise _out_of_range(path)
        case list():
            for index, item in enumerate(value):
                _check(item, path=(*path, str(index)), room=room)
        case dict():
            for name, item in value.items():
                _check_name(name, path=path)
                _check(item, path=(*path, name), room=room)


def _check_name(name: str, *, path: tuple[str, ...]) -> None:
    _check_text(name, path=(*path, name))
    if len(name) > LONGEST_NAME:
        raise InvalidRequest(
            f"A field name is longer than {LONGEST_NAME} characters.", param=".".join((*path, shown(name)))
        )


def _check_text(text: str, *, path: tuple[str, ...]) -> None:
    if not storable(text):
        param = ".".join(map(shown, path))
        raise InvalidRequest(f"{param!r} holds a NUL or half a surrogate pair.", code="invalid_text", param=param)


def _out_of_range(path: tuple[str, ...]) -> InvalidRequest:
    param = ".".join(path)
    return InvalidRequest(f"{param!r} is no finite number of at most 64 bits.", code="invalid_number", param=param)


def _too_deep() -> InvalidRequest:
    return InvalidRequest(f"The body is nested deeper than {DEEPEST} levels.", code="nested_too_deep")


def _too_many() -> InvalidRequest:
    return InvalidRequest(f"The body holds more than {MOST_VALUES} values. Send fewer.", code="too_many_values")


def shown(name: str) -> str:
    """Return a caller's field name as it may stand in an answer: short, and without NUL or half surrogates."""
    return name[:80].replace("\x00", "�").encode("utf-8", "replace").decode()
