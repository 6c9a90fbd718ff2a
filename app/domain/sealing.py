"""Secrets that must be read again, kept sealed: what lies in the database opens only with the signing secret."""

import base64
from functools import cache

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class Unsealable(Exception):
    """It was sealed under another signing secret than those we know."""


class Sealer:
    """Seals with a key derived from the signing secret, and opens also what was sealed under the one before it."""

    def __init__(self, secret: bytes, previous: bytes | None = None) -> None:
        self._current = _fernet(secret)
        self._previous = None if previous is None else _fernet(previous)

    @property
    def has_previous(self) -> bool:
        return self._previous is not None

    def seal(self, text: str) -> str:
        return self._current.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """Return what was sealed; raise Unsealable."""
        for fernet in filter(None, (self._current, self._previous)):
            try:
                return fernet.decrypt(sealed.encode()).decode()
            except InvalidToken:
                continue
        raise Unsealable

    def opens(self, sealed: str) -> bool:
        """Tell whether it can be opened."""
        try:
            self.open(sealed)
        except Unsealable:
            return False
        return True

    def resealed(self, sealed: str) -> str | None:
        """Return it under the present secret; None if it is so already, or opens with neither."""
        try:
            self._current.decrypt(sealed.encode())
        except InvalidToken:
            return self.seal(self.open(sealed)) if self.opens(sealed) else None
        return None


@cache
def _fernet(secret: bytes) -> Fernet:
    """The name in `info` keeps this key apart from all else that is made with the signing secret (RFC 5869)."""
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"reelay webhook secrets 1").derive(secret)
    return Fernet(base64.urlsafe_b64encode(key))
