"""The public keys of the company's identity provider: asked for when they are needed, kept while it is away."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx2
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from app.domain.errors import ProviderFailed, Unavailable
from app.domain.sign_in import is_secure

log = structlog.get_logger(__name__)
LARGEST_ANSWER = 256 * 1024
FETCH_SECONDS = 5.0
"""How long reading the keys may take, with the discovery before it."""
FRESH_SECONDS = 3600.0
"""A key that the provider withdraws opens nothing after that, unless it can't be asked."""
KEPT_SECONDS = 24 * 3600.0
"""How long keys are used while the provider can't be asked."""
PAUSE_SECONDS = 60.0
"""It is asked once in this time at most, however many tokens name a key that nobody knows."""
FIRST_PAUSE_SECONDS = 5.0
"""The same while there are no keys at all: nobody can come in, and it may only be starting."""
SHORTEST_MODULUS = 342
"""2048 bits as base64url."""
DISCOVERY = "/.well-known/openid-configuration"
HEADERS = {"User-Agent": "Reelay", "Accept": "application/json", "Accept-Encoding": "identity"}
_KINDS: dict[str, tuple[type[RSAKey | ECKey | OKPKey], tuple[str, ...]]] = {
    "RSA": (RSAKey, ("n", "e")),
    "EC": (ECKey, ("crv", "x", "y")),
    "OKP": (OKPKey, ("crv", "x")),
}
"""The kinds of keys that verify, and the public members of each."""


class ProviderKeys:
    """Keys by their ids. A `kid` from a token only ever looks one up here: it never becomes part of an address."""

    def __init__(
        self, *, issuer: str, jwks_url: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._clock = clock
        self._keys: dict[str, Key] = {}
        self._read_at = self._asked_at = -KEPT_SECONDS
        self._asking: asyncio.Task[None] | None = None

    async def find(self, kid: str) -> Key | None:
        """Return the key of this id, None if the provider has none; raise Unavailable without keys to look in.

        Asks the provider anew for an id that is unknown and for keys that are old, but only so often.
        """
        if self._clock() - self._read_at >= FRESH_SECONDS or kid not in self._keys:
            await self._ask()
        if self._clock() - self._read_at >= KEPT_SECONDS:
            self._keys = {}
        if not self._keys:
            raise Unavailable(
                "The keys of the identity provider can't be read just now. Try again soon, or use a key of Reelay's.",
                code="identity_provider_unavailable",
                retry_after=int(FIRST_PAUSE_SECONDS),
            )
        return self._keys.get(kid)

    async def close(self) -> None:
        """End a question that is under way."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _ask(self) -> None:
        """Read the keys, or wait for a reading under way; do nothing if that was tried a moment ago."""
        if self._asking is None or self._asking.done():
            if self._clock() - self._asked_at < (PAUSE_SECONDS if self._keys else FIRST_PAUSE_SECONDS):
                return
            self._asked_at = self._clock()
            self._asking = asyncio.create_task(self._refresh())
        # It is everybody's: whoever hangs up meanwhile does not end it for the others.
        await asyncio.shield(self._asking)

    async def _refresh(self) -> None:
        try:
            self._keys = await read_keys(issuer=self._issuer, jwks_url=self._jwks_url)
        except ProviderFailed as error:
            log.warning("identity_provider_failed", reason=str(error), keys_left=len(self._keys))
        else:
            self._read_at = self._clock()
            log.info("identity_provider_keys_read", keys=len(self._keys))


async def read_keys(*, issuer: str, jwks_url: str | None) -> dict[str, Key]:
    """Ask the provider for its keys; raise ProviderFailed. It follows no redirect and reads no proxy settings."""
    try:
        async with (
            asyncio.timeout(FETCH_SECONDS),
            httpx2.AsyncClient(
                verify=httpx2.create_ssl_context(), trust_env=False, follow_redirects=False, timeout=FETCH_SECONDS
            ) as client,
        ):
            where = jwks_url or await _discovered(client, issuer)
            keys = _keys(await _document(client, where))
    except TimeoutError:
        raise ProviderFailed(f"No answer within {FETCH_SECONDS:g} s.") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise ProviderFailed(f"No connection ({type(error).__name__}).") from None
    if not keys:
        raise ProviderFailed("Its key set holds no key that can be used.")
    return keys


async def _discovered(client: httpx2.AsyncClient, issuer: str) -> str:
    """Return where the keys are (OpenID Connect Discovery 1.0, section 4)."""
    found = await _document(client, issuer.rstrip("/") + DISCOVERY)
    if found.get("issuer") != issuer:
        raise ProviderFailed("Its discovery document is another issuer's: REELAY_OIDC_ISSUER must be exactly the same.")
    where = found.get("jwks_uri")
    if not isinstance(where, str) or not is_secure(where):
        raise ProviderFailed("Its discovery document names no https address of its keys.")
    return where


async def _document(client: httpx2.AsyncClient, url: str) -> Mapping[str, Any]:
    async with client.stream("GET", url, headers=HEADERS) as answer:
        if answer.status_code != 200:
            raise ProviderFailed(f"{answer.url.path} answers with status {answer.status_code}.")
        if answer.headers.get("content-encoding", "identity").lower() != "identity":
            raise ProviderFailed(f"{answer.url.path} sends a compressed body, though asked not to.")
        body = bytearray()
        async for chunk in answer.aiter_raw():
            body += chunk
            if len(body) > LARGEST_ANSWER:
                raise ProviderFailed(f"{answer.url.path} answers with more than {LARGEST_ANSWER} bytes.")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ProviderFailed(f"{answer.url.path} answers with something else than a JSON object.")
    return found


def _keys(document: Mapping[str, Any]) -> dict[str, Key]:
    """Return the keys that can verify a signature, by their ids; what else a set may hold is left out."""
    listed = document.get("keys")
    found: dict[str, Key] = {}
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("kid"), str) and (key := _key(entry)) is not None:
            found[entry["kid"]] = key
    return found


def _key(entry: Mapping[str, Any]) -> Key | None:
    kind, members = _KINDS.get(str(entry.get("kty")), (None, ()))
    if kind is None or entry.get("use", "sig") != "sig":
        return None
    public = {name: entry[name] for name in (*members, "alg") if isinstance(entry.get(name), str)}
    if kind is RSAKey and len(public.get("n", "")) < SHORTEST_MODULUS:
        return None
    try:
        return kind.import_key(public | {"kty": kind.key_type, "use": "sig"})
    except (JoseError, ValueError, TypeError, KeyError):
        return None
