"""Signing in with an identity provider, from the settings to the process that is served, and what the doctor says."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from app.cli import identity
from app.settings import Settings
from tests.acceptance.processes import Deployment
from tests.acceptance.test_commands import complaint, reelay
from tests.identity_provider import AUDIENCE, DISCOVERY, KEYS, Provider, provider, respond

JOB = {"model": "veo2", "input": {"prompt": "A boat"}}


@pytest.fixture
async def idp() -> AsyncIterator[Provider]:
    async with provider() as serving:
        yield serving


async def test_serve__takes_sign_ins_where_a_project_lets_them_in(folder: Path, idp: Provider) -> None:
    settings = {"oidc_issuer": idp.issuer, "oidc_audience": AUDIENCE, "oidc_project_claim": "team"}
    house = Deployment(folder, upstream_url="http://127.0.0.1:9", database_url=None, **settings)
    try:
        process, base = house.serve()
        house.run("upstream", "pause")  # so that what is made stays queued
        house.run("projects", "create", "films")
        token = idp.token(team="films", scope="jobs:write")
        async with httpx2.AsyncClient(base_url=base, headers={"Authorization": f"Bearer {token}"}) as client:
            closed = await client.post("/v1/jobs", json=JOB)
            assert (closed.status_code, closed.json()["error"]["code"]) == (403, "sign_in_closed")
            opened = json.loads(house.run("projects", "sign-in", "films", "--json"))
            made = await client.post("/v1/jobs", json=JOB)
            assert (made.status_code, made.json()["subject"]) == (201, f"{idp.issuer}|ann")
            listed = json.loads(house.run("keys", "list", "--project", "films", "--json"))
            assert [key["id"] for key in listed] == [opened["id"]]
            ended = json.loads(house.run("keys", "revoke", opened["id"], "--cancel-queued", "--json"))
            assert ended["canceled_jobs"] == 1
        assert token not in process.said()
        process.stop()
    finally:
        house.close()


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["nowhere"], 1, "no project named 'nowhere'"),
        (["film", "--scopes", "admin"], 2, "never to people who sign in"),
        (["film", "--scopes", "jobs:fly"], 2, "--scopes"),
        (["film", "--expires", "soon"], 2, "--expires"),
    ],
)
def test_sign_in__what_makes_no_sense_is_refused(folder: Path, words: list[str], status: int, says: str) -> None:
    assert reelay("projects", "create", "film", folder=folder).returncode == 0
    done = reelay("projects", "sign-in", *words, folder=folder)
    assert (done.returncode, says in done.stderr) == (status, True)


def test_serve__half_of_the_settings_is_refused(folder: Path) -> None:
    done = reelay("serve", "--sandbox", "--port", "0", folder=folder, REELAY_OIDC_ISSUER="https://login.example")
    assert "REELAY_OIDC_AUDIENCE" in complaint(done)


async def diagnosed(idp: Provider) -> tuple[str, str]:
    [finding] = await identity.provider(Settings(oidc_issuer=idp.issuer, oidc_audience=AUDIENCE))
    assert finding.level == "ok" or "REELAY_OIDC_ISSUER" in finding.mend
    return finding.level, finding.message


async def test_doctor__asks_the_identity_provider_for_its_keys(idp: Provider) -> None:
    assert await diagnosed(idp) == ("ok", f"{idp.issuer} shows 3 keys for signatures.")
    idp.answers[KEYS] = respond({"keys": []})
    level, message = await diagnosed(idp)
    assert (level, "no key that can be used" in message) == ("fail", True)
    idp.answers[DISCOVERY] = respond({}, status="404 Not Found")
    level, message = await diagnosed(idp)
    assert (level, "status 404" in message) == ("fail", True)
    [unset] = await identity.provider(Settings())
    assert unset.level == "ok"


async def test_doctor__an_issuer_that_is_away_fails() -> None:
    async with provider() as idp:
        pass
    level, message = await diagnosed(idp)
    assert (level, "No connection" in message) == ("fail", True)
