"""`multipart/form-data` (RFC 7578): text parts and file parts of a body that has been read whole."""

import re
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
    _, options = parse_options_header(content_type)
    reader = _Reader()
    try:
        parser = MultipartParser(options[b"boundary"], reader.callbacks())
        parser.write(body)
        parser.finalize()
    except KeyError:
        raise _malformed("its Content-Type names no boundary") from None
    except FormParserError as error:
        raise _malformed(str(error)[:120]) from None
    if not reader.ended:
        raise _malformed("it ends before its last boundary")
    return reader.form


class _Reader:
    """Collects the parts; the parser calls back in its order."""

    def __init__(self) -> None:
        self.form = Form()
        self.ended = False
        self._header = bytearray()
        self._disposition = bytearray()
        self._value = bytearray()
        self._name = ""
        self._is_file = False
        self._data = bytearray()

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": self._extend_header,
            "on_header_value": self._extend_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._extend_part,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin_part(self) -> None:
        if len(self.form.texts) + len(self.form.files) == MOST_PARTS:
            raise InvalidRequest(f"The form has more than {MOST_PARTS} parts.", code="too_many_parts")
        self._disposition.clear()
        self._data = bytearray()

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
        self._name = _text(options[b"name"], what="A part's name")
        self._is_file = b"filename" in options or b"filename*" in options

    def _extend_part(self, data: bytes, start: int, end: int) -> None:
        self._data += memoryview(data)[start:end]

    def _end_part(self) -> None:
        unnamed = self._name in SHORT_NAMES and not _STANDS_FOR_A_FILE.match(self._data)
        if self._is_file or unnamed:
            self.form.files.append((self._name, bytes(self._data)))
        else:
            self.form.texts.append((self._name, _text(bytes(self._data), what=f"{self._name!r}", param=self._name)))

    def _end(self) -> None:
        self.ended = True


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
