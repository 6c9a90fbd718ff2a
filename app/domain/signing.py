"""Signed, expiring URLs for what a browser opens without headers. Each is bound to one job, use and credential."""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

LIFETIME = timedelta(hours=1)
STEP = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Signer:
    """Makes signatures with the service's signing secret, and checks them with the one before it as well.

    `key_id` names the credential, a key or a client token, with which the URL ends.
    """

    secret: bytes
    previous: bytes | None = None
    """Signs nothing; what it signed holds until it expires."""

    def sign(self, *, job_id: str, use: str, key_id: str, expires: int) -> str:
        """Return the signature of one use of one job's content until `expires` (Unix seconds)."""
        return _signature(self.secret, job_id=job_id, use=use, key_id=key_id, expires=expires)

    def query(self, *, job_id: str, use: str, key_id: str, now: datetime, ends_at: datetime | None = None) -> str:
        """Return the query string that opens `use` of the job. Stable for 15 minutes, so that caches keep working.

        With `ends_at`, the credential's own end, it opens no longer than that.
        """
        expires = expiry(now) if ends_at is None else min(expiry(now), int(ends_at.timestamp()))
        signature = self.sign(job_id=job_id, use=use, key_id=key_id, expires=expires)
        return f"variant={use}&expires={expires}&key_id={key_id}&signature={signature}"

    def holds(self, *, job_id: str, use: str, key_id: str, expires: int, signature: str, now: datetime) -> bool:
        """Tell, in constant time, whether the signature is ours and not yet expired."""
        given, genuine = signature.encode("utf-8", "replace"), False
        for secret in (self.secret, self.previous or self.secret):
            expected = _signature(secret, job_id=job_id, use=use, key_id=key_id, expires=expires)
            genuine |= hmac.compare_digest(expected.encode(), given)
        return genuine and now.timestamp() < expires


def _signature(secret: bytes, *, job_id: str, use: str, key_id: str, expires: int) -> str:
    message = "\n".join(("reelay-url-1", job_id, use, key_id, str(expires))).encode()
    return hmac.new(secret, message, hashlib.sha256).hexdigest()


def expiry(now: datetime) -> int:
    """Return when a URL signed now expires (Unix seconds): one hour on, rounded up to a quarter."""
    step = int(STEP.total_seconds())
    end = now.astimezone(UTC) + LIFETIME
    return -(-int(end.timestamp()) // step) * step
