"""`multipart/form-data` (RFC 7578): text parts and file parts of a body, whole or as it arrives."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.domain.errors import InvalidRequest
from app.domain.text import storable

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MOST_PARTS = 64
SHORT_NAMES = frozenset({"image", "tail_image", "input_reference", "video", "audio"})
"""Parts that hold a file even where a client gives it no name, unless they hold a link, a data URI or a file id."""
_STANDS_FOR_A_FILE = re.compile(rb"https?://|data:|file_[0-9a-zA-Z]+\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Form:
    """The parts of a form in the order sent."""

    texts: list[tuple[str, str]] = field(default_factory=list)
    files: list[tuple[str, bytes]] = field(default_factory=list)


def parse(body: bytes, *, content_type: str) -> Form:
    """Return the form in `body`; raise InvalidRequest, naming the part where one is at fault."""
    reader = _FormReader(content_type)
    reader.write(body)
    reader.finish()
    return reader.form


class Reader:
    """Reads a form as it arrives. Whoever wants its parts overrides the last three methods."""

    def __init__(self, content_type: str) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if boundary is None:
            raise _malformed("its Content-Type names no boundary")
        with _faults_told():
            self._parser = MultipartParser(boundary, self._callbacks())
        self._ended = False
        self._parts = 0
        self._header = bytearray()
        self._disposition = bytearray()
        self._value = bytearray()

    def write(self, chunk: bytes) -> None:
        """Take the next piece; raise InvalidRequest, naming the part where one is at fault."""
        with _faults_told():
            self._parser.write(chunk)

    def finish(self) -> None:
        """Raise InvalidRequest unless the form is complete."""
        with _faults_told():
            self._parser.finalize()
        if not self._ended:
            raise _malformed("it ends before its last boundary")

    def begin(self, name: str, *, is_file: bool) -> None:
        """A part of this name begins; `is_file` if its sender says so."""

    def take(self, data: memoryview) -> None:
        """Here is more of the part."""

    def end(self) -> None:
        """The part is complete."""

    def _callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": self._extend_header,
            "on_header_value": self._extend_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": lambda data, start, end: self.take(memoryview(data)[start:end]),
            "on_part_end": self.end,
            "on_end": self._end_form,
        }

    def _begin_part(self) -> None:
        if self._parts == MOST_PARTS:
            raise InvalidRequest(f"The form has more than {MOST_PARTS} parts.", code="too_many_parts")
        self._parts += 1
        self._disposition.clear()

    def _extend_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _extend_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition[:] = self._value
        self._header.clear()
        self._value.clear()

    def _end_headers(self) -> None:
        _, options = parse_options_header(bytes(self._disposition))
        if not options.get(b"name"):
            raise _malformed("a part has no name")
        name = _text(options[b"name"], what="A part's name")
        self.begin(name, is_file=b"filename" in options or b"filename*" in options)

    def _end_form(self) -> None:
        self._ended = True


class _FormReader(Reader):
    """Collects the parts of a form that has come whole."""

    def __init__(self, content_type: str) -> None:
        super().__init__(content_type)
        self.form = Form()
        self._name = ""
        self._is_file = False
        self._data = bytearray()

    def begin(self, name: str, *, is_file: bool) -> None:
        self._name, self._is_file = name, is_file
        self._data = bytearray()

    def take(self, data: memoryview) -> None:
        self._data += data

    def end(self) -> None:
        unnamed = self._name in SHORT_NAMES and not _STANDS_FOR_A_FILE.match(self._data)
        if self._is_file or unnamed:
            self.form.files.append((self._name, bytes(self._data)))
        else:
            self.form.texts.append((self._name, _text(bytes(self._data), what=f"{self._name!r}", param=self._name)))


@contextmanager
def _faults_told() -> Iterator[None]:
    try:
        yield
    except FormParserError as error:
        raise _malformed(str(error)[:120]) from None


def _text(data: bytes, *, what: str, param: str | None = None) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest(f"{what} is not UTF-8.", code="invalid_encoding", param=param) from None
    if not storable(text):
        raise InvalidRequest(f"{what} holds a NUL.", code="invalid_text", param=param)
    return text


def _malformed(reason: str) -> InvalidRequest:
    return InvalidRequest(f"The body is no valid form: {reason}.", code="invalid_form")
