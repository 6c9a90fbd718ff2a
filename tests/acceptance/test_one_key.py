"""Fifty creates at once with one Idempotency-Key, over two API processes: one job, one purchase, one answer."""

import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.processes import Deployment, all_jobs, ledger, sandbox, wait_for_all

ROUNDS = int(os.environ.get("ONE_KEY_ROUNDS", "6"))
"""ONE_KEY_ROUNDS=200 runs the full measure."""
AT_ONCE = 50


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_one_key__fifty_at_once_over_two_processes(folder: Path, database_url: str) -> None:
    with sandbox(folder, "--speed", "100", "--max-in-flight", "1000") as upstream:
        house = Deployment(folder, upstream_url=upstream, database_url=database_url, upstream_max_in_flight="100")
        try:
            house.run("migrate")
            key = house.new_key()
            bases = [house.serve("--no-worker", name=f"api{n}")[1] for n in (1, 2)]
            house.worker("worker")
            made, counted = asyncio.run(_rounds(bases, key))
            print(f"{ROUNDS} rounds of {AT_ONCE}: {dict(counted)}")
            wait_for_all(bases[0], key, count=ROUNDS, seconds=60 + ROUNDS)
            jobs = all_jobs(bases[1], key)
            bought_for = [purchase["client_request_id"].split(":")[2] for purchase in ledger(upstream)["purchases"]]
        finally:
            house.close()
    assert counted["made"] == ROUNDS
    assert sorted(job["id"] for job in jobs) == sorted(made)
    assert sorted(bought_for) == sorted(made)
    assert {job["status"] for job in jobs} == {"succeeded"}


async def _rounds(bases: list[str], key: str) -> tuple[list[str], Counter[str]]:
    """Return the jobs that were made, and how often each kind of answer was given."""
    headers = {"Authorization": f"Bearer {key}"}
    made, counted = [], Counter[str]()
    limits = httpx2.Limits(max_connections=AT_ONCE)
    async with httpx2.AsyncClient(headers=headers, timeout=60, limits=limits) as client:
        for number in range(ROUNDS):
            asked: dict[str, Any] = {
                "json": {"model": "veo2", "input": {"prompt": f"Clip {number}"}},
                "headers": {"Idempotency-Key": f"order-{number}"},
            }
            sent = [client.post(f"{bases[n % 2]}/v1/jobs", **asked) for n in range(AT_ONCE)]
            answers = await asyncio.gather(*sent)
            counted += _judge(answers)
            late = await client.post(f"{bases[number % 2]}/v1/jobs", **asked)
            assert _is_replay(late) and late.content in {answer.content for answer in answers}
            made.append(str(late.json()["id"]))
    return made, counted


def _judge(answers: list[httpx2.Response]) -> Counter[str]:
    """One made the job; the others say the same, byte for byte, or ask to come again in a second."""
    first = [answer for answer in answers if answer.status_code == 201 and not _is_replay(answer)]
    again = [answer for answer in answers if answer.status_code == 201 and _is_replay(answer)]
    asked_back = [answer for answer in answers if answer.status_code == 409 and answer.headers.get("retry-after")]
    assert len(first) == 1
    assert len(first) + len(again) + len(asked_back) == AT_ONCE, Counter(answer.status_code for answer in answers)
    assert {answer.content for answer in again} <= {first[0].content}
    assert {answer.headers["location"] for answer in again} <= {first[0].headers["location"]}
    return Counter(made=len(first), replayed=len(again), asked_back=len(asked_back))


def _is_replay(answer: httpx2.Response) -> bool:
    return answer.headers.get("idempotent-replayed") == "true"
