"""Secrets that must be read again, kept sealed: what lies in the database opens only with the signing secret."""

import base64
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.fernet import Fernet


class Unsealable(Exception):
    """It was sealed under another signing secret than those we know."""


class Sealer:
    """Seals with a key derived from the signing secret, and opens also what was sealed under the one before it."""

    def __init__(self, secret: bytes, previous: bytes | None = None) -> None:
        self._current, self._previous = secret, previous

    @property
    def has_previous(self) -> bool:
        return self._previous is not None

    def seal(self, text: str) -> str:
        return _fernet(self._current).encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """Return what was sealed; raise Unsealable."""
        for secret in (self._current, self._previous):
            if secret is not None and (text := _opened(sealed, secret)) is not None:
                return text
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
        if _opened(sealed, self._current) is not None or not self.opens(sealed):
            return None
        return self.seal(self.open(sealed))


def _opened(sealed: str, secret: bytes) -> str | None:
    """Return what was sealed under this secret; None if it was another."""
    from cryptography.fernet import InvalidToken  # noqa: PLC0415  # as below

    try:
        return _fernet(secret).decrypt(sealed.encode()).decode()
    except InvalidToken:
        return None


@cache
def _fernet(secret: bytes) -> "Fernet":
    """The name in `info` keeps this key apart from all else that is made with the signing secret (RFC 5869)."""
    # 6 MiB, which a service without webhooks never needs.
    from cryptography.fernet import Fernet  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"reelay webhook secrets 1").derive(secret)
    return Fernet(base64.urlsafe_b64encode(key))
