"""An identity provider on this machine: discovery, a key set, and the tokens that it, or a forger, makes."""

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from functools import cache
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, generate_key

from app.api.sign_in import Registry

AUDIENCE = "https://reelay.test"
DISCOVERY, KEYS = "/.well-known/openid-configuration", "/keys"
Signer = Callable[[bytes], bytes]


@cache
def _made(kind: str, size: str | int, kid: str, _owner: str) -> Any:
    """Make a key, or return the one made before: it takes a while."""
    return generate_key(kind, size, {"kid": kid})


def rsa_key(kid: str = "rsa-1", *, of: str = "the provider") -> RSAKey:
    key: RSAKey = _made("RSA", 2048, kid, of)
    return key


def ec_key(kid: str = "ec-1", curve: str = "P-256") -> ECKey:
    key: ECKey = _made("EC", curve, kid, "the provider")
    return key


def ed_key(kid: str = "ed-1") -> OKPKey:
    key: OKPKey = _made("OKP", "Ed25519", kid, "the provider")
    return key


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(header: Any, claims: Any, sign: Signer) -> str:
    """Put a token together by hand, with whatever signature."""
    body = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims).encode())}"
    return f"{body}.{encoded(sign(body.encode()))}"


class Provider:
    """What it shows and how it answers; every request for a path is counted."""

    def __init__(self) -> None:
        self.port = 0
        self.keys: list[Key] = [rsa_key(), ec_key(), ed_key()]
        self.answers: dict[str, bytes] = {}
        """Instead of what it would say, by path."""
        self.asked: list[str] = []
        self.heads: list[str] = []
        self.gate: asyncio.Event | None = None
        """Answers wait for it."""

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def claims(self, **other: Any) -> dict[str, Any]:
        """Return the claims of a good access token; None leaves one out."""
        now = int(time.time())
        good = {"iss": self.issuer, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 600}
        good |= {"scope": "openid jobs:read jobs:write", "reelay_project": "films"}
        return {name: value for name, value in (good | other).items() if value is not None}

    def token(
        self, key: Key | None = None, *, alg: str = "RS256", header: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        """Return a token signed with a key, by default the provider's own."""
        key = key or rsa_key()
        head = {"alg": alg, "kid": key.kid, "typ": "at+jwt"} | (header or {})
        head = {name: value for name, value in head.items() if value is not None}
        return jwt.encode(head, self.claims(**claims), key, registry=Registry(), default_type=None)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split(" ")[1]
            self.asked.append(path)
            self.heads.append(head)
            if self.gate is not None:
                await self.gate.wait()
            writer.write(self.answers.get(path) or self._answer(path))
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def _answer(self, path: str) -> bytes:
        if path == DISCOVERY:
            return respond({"issuer": self.issuer, "jwks_uri": f"{self.issuer}{KEYS}"})
        if path == KEYS:
            return respond({"keys": [key.as_dict(private=False, use="sig") for key in self.keys]})
        return respond({}, status="404 Not Found")


def respond(content: Any, *, status: str = "200 OK", **headers: str) -> bytes:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@contextlib.asynccontextmanager
async def provider() -> AsyncIterator[Provider]:
    """Serve an identity provider on a port of this machine."""
    serving = Provider()
    server = await asyncio.start_server(serving.serve, "127.0.0.1", 0)
    serving.port = server.sockets[0].getsockname()[1]
    async with server:
        yield serving
