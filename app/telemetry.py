"""Structured logs: one line an event, ids bound, secrets redacted last."""

import logging
import re
import sys
from collections.abc import Collection, MutableMapping
from typing import Any, Literal
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


def configure(
    *, level: str = "info", style: Literal["auto", "console", "json"] = "auto", literals: Collection[str] = ()
) -> None:
    """Send our lines, and through the same processors those of the standard library, to stderr."""
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        Redactor(literals),
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[*processors, renderer],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
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
