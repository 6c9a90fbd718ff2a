"""The service over HTTP, as the client commands see it: reads are tried again, creates carry an idempotency key."""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlsplit

import httpx2

from app.cli.exits import Away, Left, Refused
from app.domain.errors import SettingsError

DEFAULT_URL = "http://127.0.0.1:8000"
DEVELOPMENT_KEY = Path("data") / "development-key"
SHORT_PATIENCE_SECONDS = 3.0
LONG_PATIENCE_SECONDS = 600.0
"""How long a watch bears a service that does not answer: it may be restarting."""
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 5.0
LATER = frozenset({429, 502, 503, 504})
"""Answers that the same request may mend."""
TIMEOUT = httpx2.Timeout(10, read=90, write=90, pool=None)

Part = tuple[str, tuple[str | None, bytes]]
"""A part of a form: its name, its file name (None for text) and its content."""
Trouble = Callable[[str], None]


def connect() -> "Service":
    """Return the service that REELAY_URL and REELAY_KEY name; raise SettingsError with what to do."""
    url = _setting("REELAY_URL") or DEFAULT_URL
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"REELAY_URL is {url!r}: write an address such as {DEFAULT_URL}.")
    key = _setting("REELAY_KEY")
    if not key:
        raise SettingsError(f"REELAY_KEY is not set. {_where_keys_come_from()}")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise SettingsError("REELAY_KEY holds what no key has. Copy it again.")
    return Service(url, key)


def _setting(name: str) -> str:
    """Return NAME, or what stands in the file that NAME_FILE points to."""
    if path := os.environ.get(f"{name}_FILE"):
        try:
            return Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise SettingsError(f"{name}_FILE: {path} cannot be read.") from None
    return os.environ.get(name, "").strip()


def _where_keys_come_from() -> str:
    if DEVELOPMENT_KEY.exists():
        return f'The service of this folder has one: export REELAY_KEY="$(cat {DEVELOPMENT_KEY})".'
    return "`make serve` prints one; elsewhere, whoever runs the service makes one with `reelay keys create`."


def job_path(job_id: str) -> str:
    """Return a job's path, whatever was typed for its id."""
    return f"/v1/jobs/{quote(job_id, safe='')}"


class Service:
    """One service and one key. It may be used by several threads; `leave` ends what they wait for."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self._client = httpx2.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}", "Accept": "application/json"},
            timeout=TIMEOUT,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=32),
        )
        self._left = threading.Event()

    def leave(self) -> None:
        """Let no thread wait or ask any more: the person left."""
        self._left.set()

    def pause(self, seconds: float) -> None:
        """Wait; raise Left when the person left meanwhile."""
        if self._left.wait(seconds):
            raise Left

    def read(
        self,
        path: str,
        params: dict[str, str] | None = None,
        *,
        patience: float = SHORT_PATIENCE_SECONDS,
        trouble: Trouble | None = None,
    ) -> Any:
        """Return what a GET answers, tried again for `patience` seconds; `trouble` is told of each failure."""
        return self._send("GET", path, patience=patience, trouble=trouble, params=params or {}).json()

    def create(self, path: str, *, form: list[Part], idempotency_key: str, trouble: Trouble | None = None) -> Any:
        """Post a form. The key makes it safe to send it again when no answer came."""
        headers = {"Idempotency-Key": idempotency_key}
        return self._send("POST", path, patience=30.0, trouble=trouble, files=form, headers=headers).json()

    def estimate(self, *, form: list[Part]) -> Any:
        """Ask what a job would cost."""
        return self._send("POST", "/v1/jobs/estimate", patience=SHORT_PATIENCE_SECONDS, files=form).json()

    def change(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Post a change that may be repeated: a cancel, or a retry, which the service makes once."""
        return self._send("POST", path, patience=SHORT_PATIENCE_SECONDS, json=body or {}).json()

    @contextmanager
    def stream(self, path: str) -> Iterator[httpx2.Response]:
        """Open an answer to be read piece by piece; raise Away if it breaks.

        It may lead into the storage: the key stays behind where that is another origin.
        """
        try:
            with self._client.stream("GET", path, follow_redirects=True) as answer:
                if answer.is_error:
                    answer.read()
                    _refuse(answer, self.url)
                yield answer
        except httpx2.TransportError as error:
            raise Away(f"{self.url} broke the download off ({_reason(error)}).") from None

    def close(self) -> None:
        self._client.close()

    def _send(self, method: str, path: str, *, patience: float, trouble: Trouble | None = None, **sent: Any) -> Any:
        deadline = time.monotonic() + patience
        pause = FIRST_PAUSE_SECONDS
        while True:
            self.pause(0)
            try:
                return _taken(self._client.request(method, path, **sent), self.url)
            except (_Later, httpx2.TransportError) as error:
                wait = max(pause * random.uniform(0.7, 1.3), getattr(error, "seconds", 0.0))  # noqa: S311  # spreads load
                away = error if isinstance(error, _Later) else Away(f"{self.url} does not answer ({_reason(error)}).")
                if time.monotonic() + wait > deadline:
                    raise Away(f"{away} Is it running? REELAY_URL says where it is.") from None
                if trouble is not None:
                    trouble(str(away))
                self.pause(wait)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


class _Later(Away):
    """The service can't just now; it may have said for how many seconds."""

    def __init__(self, message: str, *, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


def _taken(answer: httpx2.Response, url: str) -> httpx2.Response:
    """Return a good answer; raise what the others mean."""
    if not answer.is_success:
        _refuse(answer, url)
    if "json" not in answer.headers.get("content-type", ""):
        raise Refused(f"{url} does not answer as Reelay does. Check REELAY_URL.", status=200, code="not_reelay")
    return answer


def _refuse(answer: httpx2.Response, url: str) -> NoReturn:
    message, code, param = _fault(answer)
    waits = answer.status_code == 409 and "retry-after" in answer.headers and code != "video_not_ready"
    if answer.status_code in LATER or waits:
        raise _Later(message or f"{url} answers {answer.status_code}.", seconds=_seconds(answer))
    if not message:
        message = f"{url} answers {answer.status_code} and no reason. Check REELAY_URL."
    if answer.status_code == 401:
        raise SettingsError(f"REELAY_KEY: {message}")
    raise Refused(message, status=answer.status_code, code=code, param=param)


def _fault(answer: httpx2.Response) -> tuple[str, str, str | None]:
    """Return the message, the code and the field of the error envelope; empty texts if there is none."""
    try:
        error = answer.json()["error"]
        return str(error["message"]), str(error["code"]), error["param"]
    except (ValueError, KeyError, TypeError):
        return "", "", None


def _seconds(answer: httpx2.Response) -> float:
    text = answer.headers.get("retry-after", "")
    return min(float(text), 60.0) if text.isdecimal() and len(text) < 6 else 0.0


def _reason(error: httpx2.TransportError) -> str:
    return str(error) or type(error).__name__
