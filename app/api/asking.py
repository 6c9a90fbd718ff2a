"""Requests that may come twice: what makes two of them one, and the answer that is given again."""

import re
import time
from datetime import datetime, timedelta

from fastapi import Request
from starlette.responses import Response

from app.api import fingerprints
from app.api.callers import Caller
from app.api.deps import House
from app.api.replies import reply
from app.db import creations
from app.db.creations import Asked, Creation
from app.db.engine import Connection
from app.domain.errors import Conflict, Gone, IdempotencyMismatch, InvalidRequest

LONGEST_KEY = 255
REPLAYED = {"Idempotent-Replayed": "true"}
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
"""A string of RFC 8941."""
_BARE = re.compile(r"[!#-~][ -~]*")


def idempotency_key(request: Request) -> str | None:
    """Return the request's idempotency key, if it has one; raise InvalidRequest for one that cannot be used."""
    given = request.headers.getlist("idempotency-key")
    if not given:
        return None
    value = given[0].strip(" \t")
    if quoted := _QUOTED.fullmatch(value):
        key = re.sub(r"\\(.)", r"\1", quoted[1])
    else:
        key = value if _BARE.fullmatch(value) else ""
    if len(given) > 1 or not 1 <= len(key) <= LONGEST_KEY:
        raise InvalidRequest(
            f"Idempotency-Key must be one value of 1 to {LONGEST_KEY} printable ASCII characters, quoted or bare.",
            code="invalid_idempotency_key",
        )
    return key


def _retry_count(request: Request) -> int:
    """Return which try this is, as SDKs made by Stainless count them; 0 if it is not said."""
    value = request.headers.get("x-stainless-retry-count", "")
    return int(value) if value.isascii() and value.isdecimal() and len(value) <= 9 else 0


def read(request: Request, content: str, *, idempotency_key: str | None, caller: Caller) -> Asked:
    """Return what the request asks for, as it is known again: `content` is the fingerprint of its body."""
    return Asked(
        project_id=caller.key.project_id,
        subject=caller.key.subject or "",
        key_id=caller.credential_id,
        fingerprint=fingerprints.of_request(request.method, request.url.path, body=content),
        idempotency_key=idempotency_key,
        retry_count=_retry_count(request),
        arrived=request.state.arrived,
    )


def waited(asked: Asked) -> timedelta:
    """Return how long ago the request arrived."""
    return timedelta(seconds=time.monotonic() - asked.arrived)


async def known(asked: Asked, *, house: House) -> Creation | None:
    """Return what the request's idempotency key stands for, if it has one that stands for something."""
    if asked.idempotency_key is None:
        return None

    def find(conn: Connection) -> Creation | None:
        return creations.find(conn, asked, now=house.db.now(conn))

    return await house.db.read(find)


def remember_secret(conn: Connection, asked: Asked, *, made_id: str, now: datetime) -> None:
    """Keep what the request made, whose secret is kept nowhere; raise what `require_same` does if it came before."""
    if asked.idempotency_key is None:
        return
    if known := creations.remember(conn, asked, made_id=made_id, answer=None, now=now):
        require_same(known, asked)
        raise AssertionError("what holds a secret has no stored answer")


def answered_again(known: Creation, asked: Asked, *, collection: str) -> Response:
    """Return the stored answer to a POST to `collection`; raise what `require_same` does."""
    answer, location = require_same(known, asked), f"{collection}/{known.made_id}"
    return reply(answer, status=201, headers={"Location": location} | REPLAYED)


def require_same(known: Creation, asked: Asked) -> str:
    """Return the stored answer.

    Raises Gone if what was made is deleted, IdempotencyMismatch if the key was given with another request, and Conflict
    if the answer held a secret, which is told once and never stored.
    """
    if not known.fingerprint:
        raise Gone(
            f"{known.made_id}, made with this Idempotency-Key, was deleted. Use a new key to make another.",
            code="made_and_deleted",
        )
    if known.fingerprint != asked.fingerprint:
        raise IdempotencyMismatch(
            "This Idempotency-Key was used in the last 24 hours with another body or address. "
            "Use a new key for a new request."
        )
    if known.answer is None:
        raise Conflict(
            f"{known.made_id} was made by this request, and its secret was shown in the first answer only. "
            "Use a new Idempotency-Key to make another.",
            code="secret_already_shown",
        )
    return known.answer
