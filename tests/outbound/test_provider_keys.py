"""The identity provider's keys: how they are found, how seldom it is asked, and what happens while it is away."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from joserfc.jwk import OctKey, RSAKey

from app.domain.errors import ProviderFailed, Unavailable
from app.outbound import provider_keys
from app.outbound.provider_keys import FRESH_SECONDS, KEPT_SECONDS, PAUSE_SECONDS, ProviderKeys, read_keys
from tests.identity_provider import DISCOVERY, KEYS, Provider, ec_key, ed_key, provider, respond, rsa_key

DOWN = respond({}, status="503 Service Unavailable")


class Ticks:
    """A monotonic clock that only the test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
async def idp() -> AsyncIterator[Provider]:
    async with provider() as serving:
        yield serving


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def keys(idp: Provider, ticks: Ticks) -> ProviderKeys:
    return ProviderKeys(issuer=idp.issuer, clock=ticks)


async def failure(idp: Provider, *, jwks_url: str | None = None) -> str:
    with pytest.raises(ProviderFailed) as failed:
        await read_keys(issuer=idp.issuer, jwks_url=jwks_url)
    return str(failed.value)


# --- reading


async def test_read__discovers_where_the_keys_are(idp: Provider) -> None:
    found = await read_keys(issuer=idp.issuer, jwks_url=None)
    assert found.keys() == {"rsa-1", "ec-1", "ed-1"}
    assert idp.asked == [DISCOVERY, KEYS]
    assert not any(key.is_private for key in found.values())


async def test_read__a_url_that_is_set_needs_no_discovery(idp: Provider) -> None:
    assert await read_keys(issuer="https://elsewhere.example", jwks_url=f"{idp.issuer}{KEYS}")
    assert idp.asked == [KEYS]


async def test_read__asks_the_environment_for_no_proxy(idp: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert await read_keys(issuer=idp.issuer, jwks_url=None)


@pytest.mark.parametrize(
    "document",
    [
        {"jwks_uri": "http://keys.example/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": 7},
        {},
    ],
)
async def test_read__keys_at_an_unsafe_address_are_not_fetched(idp: Provider, document: dict[str, Any]) -> None:
    idp.answers[DISCOVERY] = respond({"issuer": idp.issuer} | document)
    assert "names no https address" in await failure(idp)


async def test_read__another_issuers_document_is_refused(idp: Provider) -> None:
    for issuer in (f"{idp.issuer}/", None):
        idp.answers[DISCOVERY] = respond({"issuer": issuer, "jwks_uri": f"{idp.issuer}{KEYS}"})
        assert "REELAY_OIDC_ISSUER" in await failure(idp)
    assert KEYS not in idp.asked


async def test_read__follows_no_redirect(idp: Provider) -> None:
    async with provider() as other:
        idp.answers[KEYS] = respond({}, status="302 Found", Location=f"{other.issuer}{KEYS}")
        assert "status 302" in await failure(idp)
        assert other.asked == []


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (DOWN, "status 503"),
        (respond(b"<html>"), "something else than a JSON object"),
        (respond([]), "something else than a JSON object"),
        (respond(b"[" * 100_000), "something else than a JSON object"),
        (respond(b" " * 10_000_000), "more than 262144 bytes"),
        (respond(b"x", Content_Encoding="gzip"), "compressed"),
        (respond({"keys": []}), "no key that can be used"),
        (respond({"keys": "none"}), "no key that can be used"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "No connection"),
    ],
    ids=["down", "html", "list", "deep", "10 MB", "compressed", "no keys", "rubbish", "cut off"],
)
async def test_read__an_answer_that_is_no_key_set_fails(idp: Provider, answer: bytes, told: str) -> None:
    idp.answers[KEYS] = answer
    assert told in await failure(idp)


async def test_read__a_provider_that_says_nothing_is_given_up(idp: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_keys, "FETCH_SECONDS", 0.05)
    idp.gate = asyncio.Event()
    assert "No answer within 0.05 s" in await failure(idp)
    idp.gate.set()


async def test_read__takes_only_what_verifies(idp: Provider) -> None:
    good = ec_key().as_dict(private=False)
    left_out: list[Any] = [
        OctKey.generate_key(256, {"kid": "oct"}).as_dict(),
        rsa_key().as_dict(private=False) | {"kid": "enc", "use": "enc"},
        rsa_key().as_dict(private=False) | {"kid": "short", "n": rsa_key().as_dict(private=False)["n"][:200]},
        {name: value for name, value in good.items() if name != "kid"},
        good | {"kid": "off", "x": good["y"]},
        good | {"kid": 7},
        {"kty": "RSA", "kid": "empty"},
        {"kty": ["RSA"], "kid": "list"},
        "text",
    ]
    idp.answers[KEYS] = respond({"keys": [*left_out, good]})
    assert (await read_keys(issuer=idp.issuer, jwks_url=None)).keys() == {"ec-1"}


async def test_read__a_private_key_that_is_shown_is_kept_as_a_public_one(idp: Provider) -> None:
    idp.answers[KEYS] = respond({"keys": [rsa_key().as_dict(private=True)]})
    [key] = (await read_keys(issuer=idp.issuer, jwks_url=None)).values()
    assert isinstance(key, RSAKey) and not key.is_private


# --- keeping


async def test_find__asks_once_for_many(idp: Provider, keys: ProviderKeys) -> None:
    found = await asyncio.gather(*(keys.find("ec-1") for _ in range(50)))
    assert None not in found
    assert idp.asked == [DISCOVERY, KEYS]


async def test_find__whoever_hangs_up_ends_it_for_nobody_else(idp: Provider, keys: ProviderKeys) -> None:
    idp.gate = asyncio.Event()
    first = asyncio.create_task(keys.find("ec-1"))
    while not idp.asked:
        await asyncio.sleep(0)
    second = asyncio.create_task(keys.find("ec-1"))
    await asyncio.sleep(0)
    first.cancel()
    idp.gate.set()
    assert await second is not None
    assert idp.asked == [DISCOVERY, KEYS]


async def test_find__unknown_ids_ask_once_a_minute_for_all(idp: Provider, keys: ProviderKeys, ticks: Ticks) -> None:
    assert await keys.find("ec-1")
    ticks.seconds += PAUSE_SECONDS - 1
    for number in range(100):
        assert await keys.find(f"unknown-{number}") is None
    assert idp.asked.count(KEYS) == 1
    ticks.seconds += 1
    found = await asyncio.gather(*(keys.find(f"unknown-{number}") for number in range(100)))
    assert set(found) == {None}
    assert idp.asked.count(KEYS) == 2
    assert await keys.find("ec-1")


async def test_find__an_id_is_no_part_of_an_address(idp: Provider, keys: ProviderKeys) -> None:
    for kid in ("../../etc/passwd", "/keys", "http://127.0.0.1:9/keys", "' OR 1=1", "\x00", "__class__"):
        assert await keys.find(kid) is None
    assert idp.asked == [DISCOVERY, KEYS]


async def test_find__a_new_key_is_picked_up(idp: Provider, keys: ProviderKeys, ticks: Ticks) -> None:
    assert await keys.find("rsa-1")
    idp.keys = [rsa_key("rsa-2")]
    assert await keys.find("rsa-2") is None  # asked a moment ago
    ticks.seconds += PAUSE_SECONDS
    assert await keys.find("rsa-2")
    assert await keys.find("rsa-1") is None


async def test_find__a_withdrawn_key_is_gone_within_the_hour(idp: Provider, keys: ProviderKeys, ticks: Ticks) -> None:
    assert await keys.find("rsa-1")
    idp.keys = [ed_key()]
    ticks.seconds += FRESH_SECONDS - 1
    assert await keys.find("rsa-1")
    ticks.seconds += 1
    assert await keys.find("rsa-1") is None
    assert idp.asked.count(KEYS) == 2


@pytest.mark.parametrize(
    "answer", [DOWN, respond(b"rubbish"), respond(b" " * 10_000_000)], ids=["down", "rubbish", "10 MB"]
)
async def test_find__keys_are_kept_for_a_day_while_the_provider_is_down(
    idp: Provider, keys: ProviderKeys, ticks: Ticks, answer: bytes
) -> None:
    assert await keys.find("rsa-1")
    idp.answers[KEYS] = answer
    ticks.seconds = FRESH_SECONDS
    assert await keys.find("rsa-1")
    assert await keys.find("rsa-1")
    assert idp.asked.count(KEYS) == 2
    ticks.seconds = KEPT_SECONDS - 1
    assert await keys.find("rsa-1")
    ticks.seconds = KEPT_SECONDS
    with pytest.raises(Unavailable):
        await keys.find("rsa-1")
    del idp.answers[KEYS]
    ticks.seconds += PAUSE_SECONDS
    assert await keys.find("rsa-1")


async def test_find__down_at_the_start_is_asked_again_soon(idp: Provider, keys: ProviderKeys, ticks: Ticks) -> None:
    idp.answers[DISCOVERY] = DOWN
    for _ in range(10):
        with pytest.raises(Unavailable) as away:
            await keys.find("rsa-1")
    assert away.value.status == 503 and away.value.retry_after == 5
    assert idp.asked == [DISCOVERY]
    del idp.answers[DISCOVERY]
    ticks.seconds += 5
    assert await keys.find("rsa-1")


async def test_close__ends_a_question_under_way(idp: Provider, keys: ProviderKeys) -> None:
    idp.gate = asyncio.Event()
    waiting = asyncio.create_task(keys.find("rsa-1"))
    while not idp.asked:
        await asyncio.sleep(0)
    await keys.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    idp.gate.set()
