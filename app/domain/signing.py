"""Signed, expiring URLs for what a browser opens without headers. Each is bound to one job, one use and one key."""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

LIFETIME = timedelta(hours=1)
STEP = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Signer:
    """Makes and checks signatures with the service's signing secret."""

    secret: bytes

    def sign(self, *, job_id: str, use: str, key_id: str, expires: int) -> str:
        """Return the signature of one use of one job's content until `expires` (Unix seconds)."""
        message = "\n".join(("reelay-url-1", job_id, use, key_id, str(expires))).encode()
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()

    def query(self, *, job_id: str, use: str, key_id: str, now: datetime) -> str:
        """Return the query string that opens `use` of the job. Stable for 15 minutes, so that caches keep working."""
        expires = expiry(now)
        signature = self.sign(job_id=job_id, use=use, key_id=key_id, expires=expires)
        return f"variant={use}&expires={expires}&key_id={key_id}&signature={signature}"

    def holds(self, *, job_id: str, use: str, key_id: str, expires: int, signature: str, now: datetime) -> bool:
        """Tell, in constant time, whether the signature is ours and not yet expired."""
        expected = self.sign(job_id=job_id, use=use, key_id=key_id, expires=expires)
        genuine = hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))
        return genuine and now.timestamp() < expires


def expiry(now: datetime) -> int:
    """Return when a URL signed now expires (Unix seconds): one hour on, rounded up to a quarter."""
    step = int(STEP.total_seconds())
    end = now.astimezone(UTC) + LIFETIME
    return -(-int(end.timestamp()) // step) * step
