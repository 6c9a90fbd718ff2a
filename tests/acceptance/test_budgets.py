"""A budget for twenty jobs, two hundred posts, and a kill -9 in the middle: exactly twenty are made."""

import asyncio
import json
from pathlib import Path

import httpx2

from tests import forks
from tests.acceptance.processes import Deployment, Process, clean_environment, ledger, sandbox, wait_for_all

POSTS = 200
FITTING = 20
PRICE_USD = 2.5


def test_budget__is_filled_exactly_through_a_crash(folder: Path, database_url: str | None) -> None:
    with sandbox(folder, "--speed", "100", "--max-in-flight", "1000") as upstream:
        house = Deployment(folder, upstream_url=upstream, database_url=database_url, lease_seconds="2")
        try:
            if database_url is not None:
                house.run("migrate")
            house.run("projects", "create", "film", "--budget", str(FITTING * PRICE_USD + 1))
            key = house.new_key()
            if database_url is None:
                victim, base = house.serve()
                bases = [base]
            else:
                house.worker("worker")
                victim, base = house.serve("--no-worker", name="api1")
                bases = [base, house.serve("--no-worker", name="api2")[1]]
            made = asyncio.run(_post_all(bases, key, victim))
            jobs = wait_for_all(bases[0], key, count=FITTING, seconds=60)
            assert made <= {job["id"] for job in jobs}, "an accepted job was lost"
            assert len(jobs) == FITTING
            month = _month(bases[0], key)
            unconfirmed = sum(job["state"] == "unconfirmed" for job in jobs)
            assert month["spent_usd"] + month["reserved_usd"] == FITTING * PRICE_USD
            assert month["reserved_usd"] == unconfirmed * PRICE_USD
            assert ledger(upstream)["count"] >= FITTING - unconfirmed
            _check(house, unconfirmed=unconfirmed)
        finally:
            house.close()


async def _post_all(bases: list[str], key: str, victim: Process) -> set[str]:
    """Post from many sides at once; kill the first process once some were made, start it, and post the rest."""
    made: set[str] = set()
    killed = asyncio.Event()
    async with httpx2.AsyncClient(
        headers={"Authorization": f"Bearer {key}"}, timeout=30, limits=httpx2.Limits(max_connections=32)
    ) as client:

        async def post(n: int) -> None:
            body = {"model": "veo2", "input": {"prompt": f"Clip {n}"}}
            try:
                answer = await client.post(f"{bases[n % len(bases)]}/v1/jobs", json=body)
            except httpx2.TransportError:
                assert killed.is_set()  # nobody knows whether it was made: the count at the end does
                return
            if answer.status_code == 201:
                made.add(answer.json()["id"])
            else:
                assert (answer.status_code, answer.json()["error"]["code"]) == (429, "insufficient_quota"), answer.text
            if len(made) >= FITTING // 3 and not killed.is_set():
                killed.set()
                victim.kill()

        await asyncio.gather(*(post(n) for n in range(POSTS // 2)))
        assert killed.is_set()
        victim.start()
        await asyncio.gather(*(post(n) for n in range(POSTS // 2, POSTS)))
    return made


def _month(base: str, key: str) -> dict[str, float]:
    answer = httpx2.get(f"{base}/v1/usage", headers={"Authorization": f"Bearer {key}"}, timeout=30)
    month: dict[str, float] = answer.raise_for_status().json()["month"]
    return month


def _check(house: Deployment, *, unconfirmed: int) -> None:
    """The books and the account agree, but for what is in doubt still."""
    done = forks.run("app.cli", "ledger", "check", "--json", environment=clean_environment(house.environment))
    found = json.loads(done.stdout)
    assert len(found) <= unconfirmed, found
    assert {one["finding"] for one in found} <= {"unknown_purchase"}, found
    assert done.returncode == (1 if found else 0), done.stderr
