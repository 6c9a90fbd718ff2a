"""Structured logs: one line an event, ids bound, secrets redacted last."""

import json
import logging
import re
import sys
from collections.abc import Collection, MutableMapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TextIO
from urllib.parse import unquote

import structlog

_PATTERNS = [
    (re.compile(r"rl[yt](?:_|%(?:25)*5[fF])[0-9A-Za-z]{16,}"), "rly_[redacted]"),
    # Also one that was cut off: its first part may stand alone.
    (re.compile(r"eyJ[\w-]{8,}(?:\.[\w-]*){0,2}"), "jwt_[redacted]"),
    (re.compile(r"whsec_[0-9A-Za-z+/=_-]{16,}"), "whsec_[redacted]"),
    (re.compile(r"(?i)(?<![a-z])(bearer|basic)(?:\s|\+|%(?:25)*20)+[\w.~+/=%-]+"), r"\1 [redacted]"),
    (
        re.compile(r"(?i)(x-amz-signature|x-(?:amz|goog)-credential|signature|token|sig)(?:=|%(?:25)*3d)[^&\s\"']+"),
        r"\1=[redacted]",
    ),
    # As JSON has it, also within a text of JSON.
    (
        re.compile(r"(?i)(token|signature|sig|secret|password|api_?key)(\\*[\"']\s*:\s*\\*[\"'])[^\"']+"),
        r"\1\2[redacted]",
    ),
    # A password may hold what ought to be escaped in it: all up to the last @ is taken for one.
    (re.compile(r"(://[^/\s:]*):[^\s\"'<>]{1,512}@"), r"\1:[redacted]@"),
    (re.compile(r"(?i)data:[^,\s\"'<>]{0,200};base64,[\w+/=%-]+"), "data:[redacted]"),
]

_MARKS = (
    *("rly_", "rlt_", "whsec_", "eyj", "bearer", "basic", "=", "%3d", "%5f", "%25", "://", "data:"),
    *("token", "sig", "secret", "password", "apikey", "api_key"),
)
"""Each pattern needs one of them, in lower case: nearly all values hold none, and are done with at once."""


_MOST_DECODINGS = 3
"""How often a secret may have been percent-encoded on its way into a line."""


class Redactor:
    """The last processor of every line: nothing secret passes, whoever logged it."""

    def __init__(self, literals: Collection[str] = ()) -> None:
        self._literals = [literal for literal in literals if len(literal) >= 6]

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
        return {name: self.clean(value) for name, value in event.items()}

    def clean(self, value: Any) -> Any:
        if isinstance(value, str):
            value = self._without_literals(value)
            lowered = value.lower()
            if any(mark in lowered for mark in _MARKS):
                for pattern, replacement in _PATTERNS:
                    value = pattern.sub(replacement, value)
            return value
        if isinstance(value, dict):
            return {name: self.clean(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.clean(inner) for inner in value]
        return value

    def _without_literals(self, text: str) -> str:
        for literal in self._literals:
            text = text.replace(literal, "[redacted]")
        decoded = text
        for _ in range(_MOST_DECODINGS if self._literals and "%" in text else 0):
            decoded = unquote(decoded)
            if any(literal in decoded for literal in self._literals):
                return "[redacted]"
        return text


class LeanLines:
    """Writes lines of level info as the processors would, for what comes with every request: there they cost most.

    Only for events whose fields are known: the texts in `said` may hold anything, those in `facts` never a secret.
    """

    def __init__(self, processors: Sequence[Any], redactor: Redactor, stream: TextIO) -> None:
        self._processors = processors
        self._redactor = redactor
        self._stream = stream
        self._write = json.JSONEncoder(ensure_ascii=False).encode

    def are_in_use(self) -> bool:
        """Tell whether the logs are still set up as they were for these lines."""
        return structlog.get_config()["processors"] is self._processors

    def write(self, event: str, *, said: dict[str, str], facts: dict[str, Any]) -> None:
        line = {name: self._redactor.clean(text) for name, text in said.items()} | facts
        line |= {"event": event, "level": "info", "timestamp": _timestamp()}
        self._stream.write(self._write(line) + "\n")
        self._stream.flush()


_lean: LeanLines | None = None


def lean_lines() -> LeanLines | None:
    """Return what writes such lines; None where they are not JSON, or not wanted."""
    return _lean if _lean is not None and _lean.are_in_use() else None


def _timestamp() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def configure(
    *, level: str = "info", style: Literal["auto", "console", "json"] = "auto", literals: Collection[str] = ()
) -> None:
    """Send our lines, and through the same processors those of the standard library, to stderr."""
    global _lean  # noqa: PLW0603  # as structlog itself, the logs are set up once for the process
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    redactor = Redactor(literals)
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redactor,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    all_of_them = [*processors, renderer]
    number = logging.getLevelNamesMapping()[level.upper()]
    _lean = None if console or number > logging.INFO else LeanLines(all_of_them, redactor, sys.stderr)
    structlog.configure(
        processors=all_of_them,
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        cache_logger_on_first_use=False,
    )
    _adopt_standard_library(processors, renderer, level=level)


def _adopt_standard_library(
    processors: list[structlog.typing.Processor], renderer: structlog.typing.Processor, *, level: str
) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=processors,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for noisy in ("uvicorn", "httpx2", "httpcore2", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It warns of every malformed form; the caller is told, and that is enough.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
