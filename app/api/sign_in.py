"""Who signed in with the company's identity provider: an access token is checked against the provider's keys."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry

from app.domain import sign_in
from app.domain.sign_in import ALGORITHMS, LONGEST_TOKEN, SignIn, Terms, refused
from app.outbound.provider_keys import ProviderKeys

_FORGED = "Its signature is not that of a key of the identity provider that this service trusts."


class Registry(JWSRegistry):
    """The algorithms that we take, whatever else the library knows."""

    max_header_length = 2048

    def __init__(self) -> None:
        super().__init__(algorithms=ALGORITHMS, strict_check_header=False)

    def get_alg(self, name: str) -> Any:
        """Return the algorithm; the library's own warns of `EdDSA`, a name that RFC 9864 retires and providers send."""
        if name not in ALGORITHMS:
            raise UnsupportedAlgorithmError(name)
        return self.algorithms[name]


class SignInDesk:
    """Checks access tokens, on the operator's terms."""

    def __init__(self, terms: Terms, keys: ProviderKeys) -> None:
        self._terms = terms
        self._keys = keys
        self._registry = Registry()

    async def read(self, token: str) -> SignIn:
        """Return what a genuine token says; its time is the caller's to check.

        Raises AuthenticationFailed, PermissionDenied, and Unavailable while the provider's keys can't be had.
        """
        if len(token) > LONGEST_TOKEN:
            raise refused(f"It is longer than {LONGEST_TOKEN} characters.")
        _, kid = sign_in.require_header(_header(token))
        key = await self._keys.find(kid)
        if key is None:
            raise refused(_FORGED)
        return sign_in.read(self._claims(token, key), self._terms)

    def _claims(self, token: str, key: Key) -> Mapping[str, Any]:
        try:
            # Its algorithm must be one that the key is for: the library compares kind, curve and the key's own `alg`.
            return jwt.decode(token, key, registry=self._registry).claims
        except (JoseError, ValueError, RecursionError):
            raise refused(_FORGED) from None


def _header(token: str) -> Mapping[str, Any]:
    text = token.partition(".")[0]
    try:
        header = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise refused("It cannot be read.")
    return header
