"""The certificates of the authorities, read once: else each new HTTP client reads them, and that takes long."""

import os
import ssl
from functools import cache

import httpcore2

PLACES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
read = httpcore2.default_ssl_context


@cache
def _known(trust_env: bool, *_named: str | None) -> ssl.SSLContext:
    return read(_trust_env=trust_env)


def _default(*, _trust_env: bool = True) -> ssl.SSLContext:
    return _known(_trust_env, *(os.environ.get(place) for place in PLACES))


def read_once() -> None:
    """Let all clients of this process, and of those forked from it, share what is read now."""
    httpcore2.default_ssl_context = _default
    for trust_env in (True, False):
        _default(_trust_env=trust_env)
