"""Access tokens of the company's own identity provider: which of them are taken, and what their claims mean here.

The rules follow RFC 8725 (best practices for JWTs) and RFC 9068 (JWTs as access tokens).
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from app.domain.errors import AuthenticationFailed, PermissionDenied
from app.domain.secrets import DEFAULT_SCOPES, Scope
from app.domain.text import storable

CLOCK_SKEW = timedelta(seconds=60)
"""How far the provider's clock may be from ours."""
LONGEST_TOKEN = 16 * 1024
LONGEST_SUBJECT = 255
LONGEST_NAME = 100
ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
)
"""All of them asymmetric: what verifies a token can't make one."""
TYPES = frozenset({"at+jwt", "application/at+jwt", "jwt", "application/jwt"})
UNDERSTOOD_BY_NOBODY = frozenset({"crit", "b64", "jku", "jwk", "x5u", "x5c"})
"""Headers that would change how a token is read, or bring the key it is checked with."""
OTHER_PURPOSES = frozenset({"nonce", "at_hash", "c_hash", "s_hash", "events"})
"""Claims of ID tokens and of notices of a logout. An access token needs none of them."""
SCOPE_CLAIMS = ("scope", "scp", "roles")
_EARLIEST, _LATEST = datetime(1971, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms sign-ins are taken."""

    issuer: str
    audience: str
    jwks_url: str | None
    """Where the provider's keys are; None asks the provider."""
    project: str | None
    """The project of every sign-in; None takes its name from the claim."""
    project_claim: str
    scopes: Mapping[str, frozenset[Scope]]
    """What a word in a token's scopes or roles allows here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """What a genuine access token says."""

    subject: str
    project: str
    """The name of the project, which may not exist."""
    scopes: frozenset[Scope]
    begins_at: datetime
    ends_at: datetime

    def require_current(self, now: datetime) -> None:
        """Raise AuthenticationFailed before the token's time and after it."""
        if now < self.begins_at:
            raise refused("It is not valid yet. Compare the clocks of the identity provider and of this service.")
        if now >= self.ends_at:
            raise refused("It has expired. Sign in again, or refresh it.")


def refused(reason: str) -> AuthenticationFailed:
    """Return the refusal of a token."""
    return AuthenticationFailed(
        f"This access token is not taken. {reason}",
        code="invalid_token",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )


def looks_like_one(secret: str) -> bool:
    """Tell whether a credential can be a signed JWT, which has three parts of base64url."""
    return secret.count(".") == 2 and secret.isascii()


def require_header(header: Mapping[str, Any]) -> tuple[str, str]:
    """Return the algorithm and the id of the key that a token names; raise AuthenticationFailed for what we don't take.

    Both are its sender's words: one must be in our list, the other is looked up among the provider's keys.
    """
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise refused(f"It must be signed with one of {', '.join(sorted(ALGORITHMS))}.")
    if not isinstance(kind, str) or kind.lower() not in TYPES:
        raise refused("Its type must be 'at+jwt' or 'JWT'.")
    if unwanted := sorted(UNDERSTOOD_BY_NOBODY & header.keys()):
        raise refused(f"Its header must not have {', '.join(unwanted)}.")
    if not isinstance(kid, str) or not kid:
        raise refused("Its header must name the key it was signed with ('kid').")
    return algorithm, kid


def read(claims: Mapping[str, Any], terms: Terms) -> SignIn:
    """Return what the claims of a genuine token say; its time is the caller's to check.

    Raises AuthenticationFailed for a token that is not meant for us, PermissionDenied for one that opens nothing here.
    """
    if claims.get("iss") != terms.issuer:
        raise refused("Another issuer made it than the one that this service trusts.")
    audience = claims.get("aud")
    if terms.audience not in (audience if isinstance(audience, list) else [audience]):
        raise refused("It was made for another audience. Ask the identity provider for one for this service.")
    # Keycloak says in `typ`, among the claims, which of its tokens one is.
    if OTHER_PURPOSES & claims.keys() or str(claims.get("typ", "Bearer")).lower() != "bearer":
        raise refused("It is no access token, but an ID token or the like. Send the access token.")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= LONGEST_SUBJECT or not storable(subject):
        raise refused(f"It must name its subject ('sub') in 1 to {LONGEST_SUBJECT} characters.")
    begins_at, ends_at = _period(claims)
    return SignIn(
        subject=f"{terms.issuer}|{subject}",
        project=terms.project or _project(claims, terms.project_claim),
        scopes=_scopes(claims, terms),
        begins_at=begins_at,
        ends_at=ends_at,
    )


def _period(claims: Mapping[str, Any]) -> tuple[datetime, datetime]:
    if "exp" not in claims:
        raise refused("It must say when it expires ('exp').")
    begins = [_instant(claims, name) for name in ("nbf", "iat") if name in claims]
    return max(begins, default=_EARLIEST) - CLOCK_SKEW, _instant(claims, "exp") + CLOCK_SKEW


def _instant(claims: Mapping[str, Any], name: str) -> datetime:
    value = claims[name]
    if not isinstance(value, int | float) or not _EARLIEST.timestamp() <= value <= _LATEST.timestamp():
        raise refused(f"Its {name!r} must be a time, in seconds since 1970.")
    return datetime.fromtimestamp(value, UTC)


def _project(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if isinstance(value, list) and len(value) == 1:
        [value] = value
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_NAME or not storable(value):
        raise PermissionDenied(
            f"This sign-in names no project: its token has no claim {name!r} that holds one name. "
            "Ask whoever runs the identity provider to add it.",
            code="no_project",
        )
    return value


def _scopes(claims: Mapping[str, Any], terms: Terms) -> frozenset[Scope]:
    granted = frozenset[Scope]().union(*(terms.scopes.get(word, ()) for word in _words(claims)))
    if not granted:
        raise PermissionDenied(
            f"This sign-in may do nothing here: its token has none of {', '.join(sorted(terms.scopes))} "
            f"in {', '.join(SCOPE_CLAIMS)}. Ask whoever runs the identity provider for it."
        )
    return granted


def _words(claims: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    for name in SCOPE_CLAIMS:
        value = claims.get(name)
        if isinstance(value, str):
            words += value.split()
        elif isinstance(value, list):
            words += [word for word in value if isinstance(word, str)]
    return words


def read_terms(
    *,
    issuer: str | None,
    audience: str | None,
    jwks_url: str | None,
    project: str | None,
    project_claim: str,
    scopes: str,
) -> Terms | None:
    """Return the terms that the settings REELAY_OIDC_... name, None if there are none; raise ValueError, one line."""
    if issuer is None or audience is None:
        if issuer or audience or jwks_url or project:
            raise ValueError(
                "REELAY_OIDC_ISSUER and REELAY_OIDC_AUDIENCE go together: set both, or no REELAY_OIDC_ setting."
            )
        return None
    for name, url in (("ISSUER", issuer), ("JWKS_URL", jwks_url)):
        if url is not None and not is_secure(url):
            raise ValueError(
                f"REELAY_OIDC_{name} must be an https URL such as https://login.example.com; http only on this machine."
            )
    return Terms(
        issuer=issuer,
        audience=audience,
        jwks_url=jwks_url,
        project=project,
        project_claim=project_claim,
        scopes=_read_scopes(scopes),
    )


def _read_scopes(text: str) -> dict[str, frozenset[Scope]]:
    """Return which word of a token allows what, from `word=scope` pairs."""
    found: dict[str, frozenset[Scope]] = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        word, scope = (side.strip() for side in pair.rpartition("=")[::2])
        if not word or scope not in DEFAULT_SCOPES:
            raise ValueError(
                f"REELAY_OIDC_SCOPES: {pair[:80]!r} is no pair such as video.write=jobs:write. Only jobs:read and "
                "jobs:write can be had by signing in."
            )
        found[word] = found.get(word, frozenset()) | {Scope(scope)}
    if not found:
        raise ValueError("REELAY_OIDC_SCOPES must hold at least one pair such as video.write=jobs:write.")
    return found


def is_secure(url: str) -> bool:
    """Tell whether nobody on the way can change what is read from this address."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    plain = parts.username is None and not parts.fragment and url.isprintable() and " " not in url
    return plain and host != "" and (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host)))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
