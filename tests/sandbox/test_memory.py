"""What survives a restart, what a reset forgets, what the ledger tells."""

import time

from tests.sandbox.conftest import OpenBox


async def test_restart__remembers_everything(open_box: OpenBox) -> None:
    box = open_box()
    done = await box.finished("first", headers={"x-client-request-id": "r1"})
    generation_id = await box.bought("second [[fault:lag-404=2]]")
    assert (await box.poll(generation_id)).status_code == 404
    before = await box.ledger()
    box.sandbox.close()

    again = open_box()
    assert await again.ledger() == before
    assert before["max_in_flight_seen"] == 1
    assert (await again.poll(generation_id)).status_code == 404
    assert (await again.poll(generation_id)).status_code == 200
    assert (await again.http.get(done["video"]["url"])).status_code == 200
    assert (await again.http.get("/v2/logs?period=1h")).json()["data"][0]["client_request_id"] == "r1"
    assert (await again.http.get("/v2/billing")).json()["current_balance"] == 1_000_000 - 2.5


async def test_restart__remembers_what_the_account_has_promised(open_box: OpenBox) -> None:
    box = open_box(balance_usd=5.0)
    await box.bought()
    box.sandbox.close()
    again = open_box(balance_usd=1000.0)
    await again.bought()
    assert (await again.submit()).status_code == 403


async def test_reset__forgets_all_but_still_sells(open_box: OpenBox) -> None:
    box = open_box()
    generation_id = await box.bought()
    await box.http.put("/_sandbox/faults", json={"500": 1})
    assert (await box.http.post("/_sandbox/reset")).status_code == 204
    ledger = await box.ledger()
    assert (ledger["count"], ledger["purchases"], ledger["max_in_flight_seen"]) == (0, [], 0)
    assert (await box.poll(generation_id)).status_code == 404
    assert (await box.http.get("/v2/logs?period=1h")).json()["data"] == []
    await box.bought()


async def test_ledger__finds_what_was_bought_twice(open_box: OpenBox) -> None:
    box = open_box()
    one = await box.bought("same", headers={"x-client-request-id": "twice"})
    two = await box.bought("same", headers={"x-client-request-id": "twice"})
    await box.bought("other", headers={"x-client-request-id": "once"})
    ledger = await box.ledger()
    assert ledger["duplicates"] == {"by_client_request_id": {"twice": [one, two]}, "by_prompt": {"same": [one, two]}}
    assert ledger["purchases"][0].keys() == {
        "generation_id", "client_request_id", "model", "created", "ready", "cost_credits", "prompt", "status", "faults",
    }  # fmt: skip


async def test_ledger__is_filtered_and_paged(open_box: OpenBox) -> None:
    box = open_box()
    for number in range(4):
        await box.bought(f"prompt {number}", headers={"x-client-request-id": f"rly:a:{number}"})
        box.wait(1)
    await box.bought("prompt", model="openai/sora-9")
    page = await box.ledger(limit=2, offset=1)
    assert ([p["prompt"] for p in page["purchases"]], page["count"]) == (["prompt 1", "prompt 2"], 5)
    assert page["has_more"]
    for filters, count in (
        ({"model": "openai/sora-9"}, 1),
        ({"client_request_id": "rly:a:2"}, 1),
        ({"client_request_id_prefix": "rly:a:"}, 4),
        ({"prompt": "prompt 3"}, 1),
        ({"since": box.clock.now - 1.5}, 2),
    ):
        assert (await box.ledger(**filters))["count"] == count
    assert (await box.http.get("/_sandbox/ledger?limit=many")).status_code == 400


async def test_advance__lets_time_pass_for_good(open_box: OpenBox) -> None:
    box = open_box()
    generation_id = await box.bought()
    await box.http.post("/_sandbox/advance", json={"seconds": 3600})
    assert (await box.poll(generation_id)).json()["status"] == "completed"
    box.sandbox.close()
    assert (await open_box().poll(generation_id)).json()["status"] == "completed"


async def test_stats__sum_up(open_box: OpenBox) -> None:
    box = open_box()
    await box.bought("[[fault:fail]]")
    await box.finished()
    await box.bought()
    stats = (await box.http.get("/_sandbox/stats")).json()
    assert stats["generations"] == {"in_flight": 1, "completed": 1, "error": 1}
    assert (stats["requests"], stats["faults_struck"]) == ({"submit": 3, "poll": 1}, {"fail": 1})
    assert (stats["spent_usd"], stats["balance_usd"]) == (2.5, 999_997.5)


async def test_submit__carries_three_hundred_a_second(open_box: OpenBox) -> None:
    box = open_box(max_in_flight=10_000)
    began = time.process_time()
    for number in range(300):
        await box.submit(f"{number}")
    assert time.process_time() - began < 1.5
    assert (await box.ledger())["count"] == 300
