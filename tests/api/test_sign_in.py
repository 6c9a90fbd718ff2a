"""Access tokens of an identity provider as credentials: who comes in with one, as whom, and who does not."""

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from joserfc.jwk import ECKey, RSAKey

from app.api.callers import Caller, KeyRing
from app.api.deps import House
from app.api.sign_in import SignInDesk
from app.db import access, sign_in
from app.db.engine import Database
from app.db.signals import job_topic
from app.domain.secrets import DEFAULT_SCOPES, Scope
from app.domain.sign_in import LONGEST_TOKEN, Terms, read_terms
from app.domain.states import JobState
from app.outbound.provider_keys import ProviderKeys
from tests.api.conftest import ClientFor, Ticks, asleep, count, require_error
from tests.api.test_access_matrix import ROUTES, Needs, path_of
from tests.conftest import Clock
from tests.factories import INPUT, MODEL, VIDEO, make_caller, make_job, video_of
from tests.identity_provider import (
    AUDIENCE,
    DISCOVERY,
    KEYS,
    Provider,
    ec_key,
    ed_key,
    forged,
    provider,
    respond,
    rsa_key,
)

BODY = {"model": MODEL, "input": INPUT}


def ec_384(kid: str = "ec-384") -> ECKey:
    return ec_key(kid, "P-384")


SCOPES = "jobs:read=jobs:read,jobs:write=jobs:write,director=jobs:write,director=jobs:read"
Forge = Callable[[Provider], str]


@pytest.fixture
def database_kind() -> str:
    """Decided at the front door; tests/db has what the databases decide."""
    return "sqlite"


@pytest.fixture
async def idp() -> AsyncIterator[Provider]:
    async with provider() as serving:
        yield serving


@pytest.fixture
def terms(idp: Provider) -> Terms:
    found = read_terms(
        issuer=idp.issuer,
        audience=AUDIENCE,
        jwks_url=None,
        project=None,
        project_claim="reelay_project",
        scopes=SCOPES,
    )
    assert found is not None
    return found


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def house(house: House, idp: Provider, terms: Terms, ticks: Ticks) -> House:
    """A house that takes sign-ins."""
    return with_terms(house, terms, ticks)


def with_terms(house: House, terms: Terms, ticks: Ticks) -> House:
    keys = ProviderKeys(issuer=terms.issuer, jwks_url=terms.jwks_url, clock=ticks)
    return replace(house, keys=KeyRing(desk=SignInDesk(terms, keys), clock=ticks))


@pytest.fixture(autouse=True)
def films(database: Database, me: Caller) -> access.Key:
    """The project `films`, open to people who sign in."""
    return opened(database)


def opened(database: Database, project: str = "films", scopes: frozenset[Scope] = DEFAULT_SCOPES) -> access.Key:
    with database.transaction() as conn:
        return sign_in.open_project(conn, project, scopes=scopes, now=database.now(conn))


def revoked(database: Database, key: access.Key) -> None:
    with database.transaction() as conn:
        access.revoke_key(conn, key.id, now=database.now(conn))


async def status(client: httpx2.AsyncClient) -> int:
    return (await client.get("/v1/jobs")).status_code


# --- good tokens


@pytest.mark.parametrize(
    ("make", "kid", "alg"),
    [
        *((rsa_key, "rsa-1", alg) for alg in ("RS256", "RS512", "PS256")),
        (ec_key, "ec-1", "ES256"),
        (ec_384, "ec-384", "ES384"),
        (ed_key, "ed-1", "EdDSA"),
        (ed_key, "ed-1", "Ed25519"),
    ],
)
async def test_sign_in__a_good_token_makes_jobs(
    *, client_for: ClientFor, idp: Provider, films: access.Key, make: Any, kid: str, alg: str
) -> None:
    idp.keys = [rsa_key(), ec_key(), ec_384(), ed_key()]
    client = client_for(idp.token(make(kid), alg=alg))
    made = await client.post("/v1/jobs", json=BODY)
    assert made.status_code == 201, made.text
    assert made.json()["subject"] == f"{idp.issuer}|ann"
    usage = (await client.get("/v1/usage?group_by=key")).json()["data"]
    assert [(group["group"], group["name"]) for group in usage] == [(films.id, "sign-in")]


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": ["account", AUDIENCE]},
        {"scope": None, "scp": ["jobs:read"]},
        {"scope": None, "scp": "email jobs:read"},
        {"scope": None, "roles": ["director"]},
        {"reelay_project": ["films"]},
        {"typ": "Bearer"},
        {"iat": None},
    ],
    ids=str,
)
async def test_sign_in__other_providers_say_it_otherwise(
    client_for: ClientFor, idp: Provider, claims: dict[str, Any]
) -> None:
    assert await status(client_for(idp.token(**claims))) == 200


async def test_sign_in__clocks_may_differ_by_a_minute(client_for: ClientFor, idp: Provider) -> None:
    now = time.time()
    for claims in ({"exp": now - 50.5}, {"nbf": now + 50}, {"iat": now + 50.5}):
        assert await status(client_for(idp.token(**claims))) == 200
    for claims in ({"exp": now - 61}, {"nbf": now + 70}, {"iat": now + 70}):
        assert await status(client_for(idp.token(**claims))) == 401


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "JWT", None])
async def test_sign_in__types_of_access_tokens(client_for: ClientFor, idp: Provider, typ: str | None) -> None:
    assert await status(client_for(idp.token(header={"typ": typ, "x5t": "thumb"}))) == 200


async def test_sign_in__people_see_their_own_jobs_only(
    client_for: ClientFor, client: httpx2.AsyncClient, idp: Provider
) -> None:
    ann, bob = client_for(idp.token()), client_for(idp.token(sub="bob"))
    job = (await ann.post("/v1/jobs", json=BODY)).json()
    assert (await ann.get(f"/v1/jobs/{job['id']}")).status_code == 200
    require_error(await bob.get(f"/v1/jobs/{job['id']}"), 404)
    assert (await bob.get("/v1/jobs")).json()["data"] == []
    assert [found["id"] for found in (await client.get("/v1/jobs")).json()["data"]] == [job["id"]]


async def test_sign_in__a_retry_of_one_is_no_retry_of_another(client_for: ClientFor, idp: Provider) -> None:
    ann, bob = client_for(idp.token()), client_for(idp.token(sub="bob"))
    retry = {"X-Stainless-Retry-Count": "1"}
    first = (await ann.post("/v1/jobs", json=BODY)).json()
    others = await bob.post("/v1/jobs", json=BODY, headers=retry)
    assert (others.status_code, others.json()["subject"]) == (201, f"{idp.issuer}|bob")
    assert (await ann.post("/v1/jobs", json=BODY, headers=retry)).json()["id"] == first["id"]


async def test_sign_in__our_own_keys_work_beside_it(client: httpx2.AsyncClient, idp: Provider) -> None:
    idp.answers[DISCOVERY] = respond(b"")
    assert await status(client) == 200
    assert idp.asked == []


async def test_sign_in__without_settings_a_token_is_a_key_that_does_not_work(
    client_for: ClientFor, house: House, idp: Provider
) -> None:
    object.__setattr__(house, "keys", KeyRing())
    require_error(await client_for(idp.token()).get("/v1/jobs"), 401, code="invalid_api_key")
    assert idp.asked == []


# --- scopes and projects


@pytest.mark.parametrize(("method", "path"), [route for route, needs in ROUTES.items() if needs is not Needs.NOTHING])
async def test_sign_in__comes_in_where_a_key_of_its_scopes_would(
    client_for: ClientFor, idp: Provider, method: str, path: str
) -> None:
    needs = ROUTES[method, path]
    suffices = {Scope.JOBS_READ: {Needs.KEY, Needs.READ, Needs.KEY_READ}, Scope.JOBS_WRITE: {Needs.KEY, Needs.WRITE}}
    for scope, enough in suffices.items():
        answer = await client_for(idp.token(scope=f"{scope} admin")).request(method, path_of(path))
        refused = answer.status_code in (401, 403)
        assert refused == (needs not in enough), answer.text
        assert answer.status_code != 401


async def test_sign_in__says_which_scope_it_lacks(client_for: ClientFor, idp: Provider) -> None:
    answer = await client_for(idp.token(scope="jobs:read")).post("/v1/jobs", json=BODY)
    assert "This sign-in lacks the scope jobs:write." in require_error(answer, 403, code="missing_scope")["message"]


@pytest.mark.parametrize("claims", [{"scope": "openid admin"}, {"scope": None}, {"scope": {"jobs:read": 1}}], ids=str)
async def test_sign_in__without_a_scope_opens_nothing(
    client_for: ClientFor, idp: Provider, claims: dict[str, Any]
) -> None:
    answer = await client_for(idp.token(**claims)).get("/v1/tokens")
    error = require_error(answer, 403, code="missing_scope")
    assert "jobs:write" in error["message"] and "scp" in error["message"]


async def test_sign_in__has_no_more_than_its_project_grants(
    client_for: ClientFor, database: Database, idp: Provider
) -> None:
    opened(database, scopes=frozenset({Scope.JOBS_READ}))
    client = client_for(idp.token())
    assert await status(client) == 200
    require_error(await client.post("/v1/jobs", json=BODY), 403, code="missing_scope")
    require_error(await client_for(idp.token(scope="jobs:write")).get("/v1/tokens"), 403, code="sign_in_closed")


@pytest.mark.parametrize("value", [None, "", 7, [], ["films", "others"], {"name": "films"}, "x" * 101, "a\0"], ids=str)
async def test_sign_in__must_name_one_project(client_for: ClientFor, idp: Provider, value: Any) -> None:
    answer = await client_for(idp.token(reelay_project=value)).get("/v1/jobs")
    assert "'reelay_project'" in require_error(answer, 403, code="no_project")["message"]


async def test_sign_in__a_closed_project_is_as_one_that_never_was(
    client_for: ClientFor, database: Database, idp: Provider
) -> None:
    make_caller(database, project="closed")
    make_caller(database, project="ended")
    revoked(database, opened(database, "ended"))
    answers = [await client_for(idp.token(reelay_project=name)).get("/v1/jobs") for name in ("closed", "ended", "none")]
    told = [require_error(answer, 403, code="sign_in_closed")["message"] for answer in answers]
    assert len(set(told)) == 1


async def test_sign_in__into_an_archived_project_reads_and_makes_nothing(
    client_for: ClientFor, database: Database, idp: Provider
) -> None:
    with database.transaction() as conn:
        access.archive_project(conn, "films", now=database.now(conn))
    client = client_for(idp.token())
    assert await status(client) == 200
    for path in ("/v1/jobs", "/v1/tokens"):
        require_error(await client.post(path, json={}), 403, code="project_archived")


async def test_sign_in__one_project_for_all_asks_no_claim(
    client_for: ClientFor, house: House, terms: Terms, ticks: Ticks, idp: Provider
) -> None:
    object.__setattr__(house, "keys", with_terms(house, replace(terms, project="films"), ticks).keys)
    assert await status(client_for(idp.token(reelay_project="others"))) == 200


# --- client tokens


async def test_mint__only_for_its_own_subject(client_for: ClientFor, idp: Provider) -> None:
    exp = int(time.time()) + 100
    ann, bob = client_for(idp.token(exp=exp)), client_for(idp.token(sub="bob"))
    for subject in (f"{idp.issuer}|bob", "ann"):
        require_error(await ann.post("/v1/tokens", json={"subject": subject}), 403, code="not_grantable")
    minted = (await ann.post("/v1/tokens", json={"ttl_seconds": 3600})).json()
    assert minted["subject"] == f"{idp.issuer}|ann"
    assert minted["expires_at"].startswith(time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(exp + 60)))
    require_error(await bob.delete(f"/v1/tokens/{minted['id']}"), 404)
    assert (await bob.get("/v1/tokens")).json()["data"] == []
    job = (await client_for(minted["token"]).post("/v1/jobs", json=BODY)).json()
    assert (await ann.get(f"/v1/jobs/{job['id']}")).status_code == 200


async def test_mint__grants_nothing_that_the_sign_in_lacks(client_for: ClientFor, idp: Provider) -> None:
    reader = client_for(idp.token(scope="jobs:read"))
    for scopes in (["jobs:write"], ["admin"]):
        require_error(await reader.post("/v1/tokens", json={"scopes": scopes}), 403, code="not_grantable")
    minted = (await reader.post("/v1/tokens")).json()
    require_error(await client_for(minted["token"]).post("/v1/jobs", json=BODY), 403, code="missing_scope")


# --- its end


async def test_end__revoking_the_projects_key_ends_everybody(
    *,
    client_for: ClientFor,
    client: httpx2.AsyncClient,
    database: Database,
    house: House,
    ticks: Ticks,
    idp: Provider,
    films: access.Key,
) -> None:
    ann = client_for(idp.token())
    subject = f"{idp.issuer}|ann"
    job = make_job(
        database, Caller(replace(films, subject=subject), access_project(database)), state=JobState.SUCCEEDED
    )
    await house.store.put_bytes(video_of(job)["key"], VIDEO, content_type="video/mp4")
    link = (await ann.get(f"/v1/jobs/{job.id}")).json()["video"]["url"]
    visitor, token = client_for(), client_for((await ann.post("/v1/tokens")).json()["token"])
    assert (await visitor.get(link)).content == VIDEO
    assert await status(token) == 200
    revoked(database, films)
    ticks.seconds += 4
    require_error(await ann.get("/v1/jobs"), 403, code="sign_in_closed")
    assert await status(token) == 401
    assert (await visitor.get(link)).status_code == 401
    assert await status(client) == 200
    again = opened(database)
    assert again.id != films.id
    assert await status(ann) == 200
    assert await status(token) == 401


def access_project(database: Database) -> access.Project:
    with database.transaction() as conn:
        return access.project_named(conn, "films")


async def test_end__a_token_ends_by_itself_and_is_never_known_longer(
    client_for: ClientFor, clock: Clock, ticks: Ticks, idp: Provider
) -> None:
    client = client_for(idp.token(exp=int(time.time()) + 3))
    clock.move(seconds=60)  # two to three seconds are left, with the minute that clocks may differ by
    assert await status(client) == 200
    clock.move(seconds=3)
    ticks.seconds += 3
    error = require_error(await client.get("/v1/jobs"), 401, code="invalid_token")
    assert "expired" in error["message"]


async def test_end__whoever_waits_is_told(
    client_for: ClientFor, clock: Clock, database: Database, idp: Provider
) -> None:
    client = client_for(idp.token(exp=int(time.time()) + 1))
    job = (await client.post("/v1/jobs", json=BODY)).json()
    waiting = asyncio.create_task(client.get(f"/v1/jobs/{job['id']}?wait=60"))
    assert await asleep(database) == job_topic(job["id"])
    clock.move(seconds=62)
    database.signals.wake({job_topic(job["id"])})
    require_error(await waiting, 401)


# --- bad tokens


def altered(token: str, part: int) -> str:
    """Change one character in the middle of a part."""
    parts = token.split(".")
    at = len(parts[part]) // 2
    other = "A" if parts[part][at] != "A" else "B"
    parts[part] = parts[part][:at] + other + parts[part][at + 1 :]
    return ".".join(parts)


def hmac_with_public_key(idp: Provider) -> str:
    secret = rsa_key().as_pem(private=False)
    header = {"alg": "HS256", "kid": "rsa-1", "typ": "JWT"}
    return forged(header, idp.claims(), lambda body: hmac.new(secret, body, hashlib.sha256).digest())


def none_at_all(idp: Provider) -> str:
    return forged({"alg": "none", "kid": "rsa-1"}, idp.claims(), lambda _: b"")


def with_id(kid: Any) -> Forge:
    return lambda idp: idp.token(header={"kid": kid})


def with_header(**more: Any) -> Forge:
    return lambda idp: idp.token(header=more)


def with_claims(**other: Any) -> Forge:
    return lambda idp: idp.token(**other)


NOW = int(time.time())


def stranger() -> RSAKey:
    """Return a key that calls itself as the provider's does."""
    return rsa_key("rsa-1", of="a stranger")


BAD: dict[str, Forge] = {
    "none": none_at_all,
    "none, signed": lambda idp: none_at_all(idp) + "AAAA",
    "HS256 with the public key": hmac_with_public_key,
    "an algorithm that is no text": lambda idp: forged(
        {"alg": ["RS256"], "kid": "rsa-1"}, idp.claims(), lambda _: b"x"
    ),
    "an algorithm in small letters": lambda idp: forged({"alg": "rs256", "kid": "rsa-1"}, idp.claims(), lambda _: b"x"),
    "an unknown algorithm": lambda idp: forged({"alg": "RS1", "kid": "rsa-1"}, idp.claims(), lambda _: b"x"),
    "signed by a stranger": lambda idp: idp.token(stranger()),
    "another kind of key": lambda idp: idp.token(ec_key(), alg="ES256", header={"kid": "rsa-1"}),
    "another curve": lambda idp: idp.token(ec_384(), alg="ES384", header={"kid": "ec-1"}),
    "unknown kid": with_id("rsa-9"),
    "kid as a path": with_id("../../../../dev/null"),
    "kid as SQL": with_id("rsa-1' OR '1'='1"),
    "kid as an address": with_id("http://127.0.0.1:9/keys"),
    "kid that is no text": lambda idp: forged({"alg": "RS256", "kid": {"a": 1}}, idp.claims(), lambda _: b"x"),
    "no kid": with_id(None),
    "crit": lambda idp: forged(
        {"alg": "RS256", "kid": "rsa-1", "crit": ["exp"], "exp": 1}, idp.claims(), lambda _: b"x"
    ),
    "b64": lambda idp: forged({"alg": "RS256", "kid": "rsa-1", "b64": False}, idp.claims(), lambda _: b"x"),
    "typ of a notice": with_header(typ="logout+jwt"),
    "typ of a DPoP proof": with_header(typ="dpop+jwt"),
    "ID token: nonce": with_claims(nonce="n-1"),
    "ID token: at_hash": with_claims(at_hash="x"),
    "ID token: c_hash": with_claims(c_hash="x"),
    "ID token of Keycloak": with_claims(typ="ID"),
    "ID token for a client": with_claims(aud="a-client"),
    "refresh token of Keycloak": with_claims(typ="Refresh"),
    "notice of a logout": with_claims(events={"http://schemas.openid.net/event/backchannel-logout": {}}),
    "another audience": with_claims(aud="https://others.test"),
    "no audience": with_claims(aud=None),
    "audiences, none ours": with_claims(aud=["a", "b"]),
    "part of our audience": with_claims(aud=f"{AUDIENCE}/more"),
    "another issuer": with_claims(iss="https://evil.example"),
    "an issuer with a slash more": lambda idp: idp.token(iss=f"{idp.issuer}/"),
    "no issuer": with_claims(iss=None),
    "expired": with_claims(exp=NOW - 120),
    "not yet valid": with_claims(nbf=NOW + 3600),
    "made in the future": with_claims(iat=NOW + 3600),
    "no exp": with_claims(exp=None),
    "exp as text": with_claims(exp=str(NOW + 600)),
    "exp as truth": with_claims(exp=True),
    "exp beyond all time": with_claims(exp=10**400),
    "exp infinite": with_claims(exp=float("inf")),
    "exp no number": with_claims(exp=float("nan")),
    "nbf before all time": with_claims(nbf=-1),
    "no sub": with_claims(sub=None),
    "empty sub": with_claims(sub=""),
    "sub that is no text": with_claims(sub=7),
    "long sub": with_claims(sub="a" * 256),
    "sub that no database holds": with_claims(sub="a\0b"),
    "truncated": lambda idp: idp.token()[:-10],
    "signature left out": lambda idp: idp.token().rpartition(".")[0] + ".",
    "header altered": lambda idp: altered(idp.token(), 0),
    "claims altered": lambda idp: altered(idp.token(), 1),
    "signature altered": lambda idp: altered(idp.token(), 2),
    "signature of another token": lambda idp: (
        f"{idp.token(sub='bob').rpartition('.')[0]}.{idp.token().rpartition('.')[2]}"
    ),
    "padded": lambda idp: f"{idp.token()}=",
    "rubbish": lambda _: "a.b.c",
    "empty parts": lambda _: "..",
    "header that is no object": lambda _: f"{base64.b64encode(b'[1]').decode()}.e30.e30",
    "header as text": lambda _: "ImFsZyI.e30.e30",
    "deep header": lambda _: f"{base64.b64encode(b'[' * 3000).decode()}.e30.e30",
    "claims that are no object": lambda idp: forged({"alg": "RS256", "kid": "rsa-1"}, [1], lambda _: b"x"),
    "huge": lambda idp: idp.token(padding="x" * LONGEST_TOKEN),
    "long header": with_header(x="y" * 3000),
}


@pytest.mark.parametrize("name", BAD)
async def test_sign_in__bad_tokens_open_nothing(
    client_for: ClientFor, idp: Provider, database: Database, name: str
) -> None:
    client = client_for(BAD[name](idp))
    for _ in range(2):
        answer = await client.post("/v1/jobs", json=BODY)
        error = require_error(answer, 401, code="invalid_token")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert "…" not in error["message"] and idp.token().split(".")[1][:40] not in error["message"]
    assert count(database, "jobs") == 0
    assert set(idp.asked) <= {DISCOVERY, KEYS} and idp.asked.count(KEYS) <= 1


async def test_sign_in__a_key_serves_no_other_algorithm_than_its_own(client_for: ClientFor, idp: Provider) -> None:
    idp.answers[KEYS] = respond({"keys": [rsa_key().as_dict(private=False) | {"alg": "PS256"}]})
    assert await status(client_for(idp.token(alg="PS256"))) == 200
    for alg in ("RS256", "PS512"):
        require_error(await client_for(idp.token(alg=alg)).get("/v1/jobs"), 401, code="invalid_token")


@pytest.mark.parametrize("header", ["jku", "x5u", "jwk", "x5c"])
async def test_sign_in__a_token_brings_no_key_of_its_own(client_for: ClientFor, idp: Provider, header: str) -> None:
    public = stranger().as_dict(private=False)
    async with provider() as attacker:
        attacker.keys = [stranger()]
        brought = {
            "jku": f"{attacker.issuer}{KEYS}",
            "x5u": f"{attacker.issuer}{KEYS}",
            "jwk": public,
            "x5c": ["MIIB"],
        }[header]
        for key in (stranger(), rsa_key()):
            for kid in ("rsa-1", "rsa-9"):
                token = idp.token(key, header={header: brought, "kid": kid})
                require_error(await client_for(token).get("/v1/jobs"), 401, code="invalid_token")
        assert attacker.asked == []


# --- the provider


async def test_provider__down_at_the_start_is_503_and_then_well(
    client_for: ClientFor, client: httpx2.AsyncClient, ticks: Ticks, idp: Provider
) -> None:
    idp.answers[KEYS] = respond({}, status="500 Oh")
    answer = await client_for(idp.token()).get("/v1/jobs")
    require_error(answer, 503, code="identity_provider_unavailable")
    assert answer.headers["retry-after"] == "5"
    assert await status(client) == 200
    del idp.answers[KEYS]
    ticks.seconds += 5
    assert await status(client_for(idp.token())) == 200


async def test_provider__down_later_changes_nothing(client_for: ClientFor, ticks: Ticks, idp: Provider) -> None:
    client = client_for(idp.token())
    assert await status(client) == 200
    idp.answers[KEYS] = idp.answers[DISCOVERY] = respond(b"\xff" * 10_000_000)
    ticks.seconds += 7200
    assert await status(client) == 200


async def test_provider__rotation_is_followed(client_for: ClientFor, ticks: Ticks, idp: Provider) -> None:
    assert await status(client_for(idp.token())) == 200
    idp.keys = [ec_key("ec-2")]
    ticks.seconds += 60
    assert await status(client_for(idp.token(ec_key("ec-2"), alg="ES256"))) == 200
    assert await status(client_for(idp.token())) == 401


async def test_provider__a_storm_of_unknown_keys_asks_it_once(
    client_for: ClientFor, ticks: Ticks, idp: Provider
) -> None:
    assert await status(client_for(idp.token())) == 200
    ticks.seconds += 60
    storm = [status(client_for(idp.token(header={"kid": f"k-{number}"}))) for number in range(40)]
    assert set(await asyncio.gather(*storm)) == {401}
    assert idp.asked.count(KEYS) == 2


async def test_provider__known_callers_are_not_checked_anew_for_four_seconds(
    client_for: ClientFor, ticks: Ticks, database: Database, idp: Provider, films: access.Key
) -> None:
    client = client_for(idp.token())
    assert await status(client) == 200
    revoked(database, films)
    ticks.seconds += 3.9
    assert await status(client) == 200
    ticks.seconds += 0.1
    assert await status(client) == 403
