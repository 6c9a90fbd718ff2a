"""Keys and client tokens: how they are made, recognised and stored. Only a hash of one is ever kept."""

import binascii
import hashlib
import hmac
import secrets
from enum import StrEnum

KEY_PREFIX = "rly_"
TOKEN_PREFIX = "rlt_"  # noqa: S105  # how one begins
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_BYTES = 24
_RANDOM_LENGTH = 33
_CHECK_LENGTH = 6


class Scope(StrEnum):
    """What a key or a client token may do."""

    JOBS_WRITE = "jobs:write"
    JOBS_READ = "jobs:read"
    ADMIN = "admin"
    """Everything in every project. Granted only by the command line on the host."""


DEFAULT_SCOPES = frozenset({Scope.JOBS_READ, Scope.JOBS_WRITE})


def new_key() -> str:
    """Return a fresh key: prefix, 192 random bits, checksum."""
    return _fresh(KEY_PREFIX)


def new_token() -> str:
    """Return a fresh client token, made as a key is."""
    return _fresh(TOKEN_PREFIX)


def well_formed(secret: str) -> bool:
    """Tell whether `secret` can be one of ours, so that a typing error or rubbish costs no database look-up."""
    body, check = secret[len(KEY_PREFIX) : -_CHECK_LENGTH], secret[-_CHECK_LENGTH:]
    shaped = secret.startswith((KEY_PREFIX, TOKEN_PREFIX)) and len(body) == _RANDOM_LENGTH and secret.isascii()
    return shaped and hmac.compare_digest(check, _checksum(body))


def is_token(secret: str) -> bool:
    """Tell a client token from a key."""
    return secret.startswith(TOKEN_PREFIX)


def hash_of(key: str) -> str:
    """Return what is stored of a key. Its 192 random bits need no slow hash."""
    return hashlib.sha256(key.encode()).hexdigest()


def hint_of(key: str) -> str:
    """Return the few characters by which people tell keys apart."""
    return f"{key[:8]}…{key[-4:]}"


def _fresh(prefix: str) -> str:
    body = _base62(int.from_bytes(secrets.token_bytes(_RANDOM_BYTES), "big"), _RANDOM_LENGTH)
    return f"{prefix}{body}{_checksum(body)}"


def _checksum(body: str) -> str:
    return _base62(binascii.crc32(body.encode()), _CHECK_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
