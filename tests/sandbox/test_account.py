"""The usage log, the balance and the transactions."""

from datetime import UTC, datetime
from typing import Any

import pytest

from app.sandbox.faults import Odds
from tests.sandbox.conftest import MORNING, Box, OpenBox


async def log(box: Box, query: str = "period=24h") -> dict[str, Any]:
    answer = await box.http.get(f"/v2/logs?{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_logs__show_a_video_only_once_finished_and_the_lag_is_over(open_box: OpenBox) -> None:
    box = open_box(log_lag_seconds=300)
    generation_id = await box.bought(headers={"x-client-request-id": "mine"})
    box.wait(290)
    assert (await log(box))["data"] == []
    box.wait(100)
    (row,) = (await log(box))["data"]
    assert row == {
        "created": "2026-09-21T14:13:20.000Z",
        "status": "succeeded",
        "origin": "api",
        "model": "veo2",
        "cost": {"usd": 2.5, "credits": 5_000_000},
        "tokens": {"input": 0, "output": 0, "total": 0},
        "request_id": row["request_id"],
        "inference_id": generation_id,
        "client_request_id": "mine",
    }


async def test_logs__wait_for_the_generation_without_any_lag(box: Box) -> None:
    await box.bought()
    assert (await log(box))["data"] == []
    box.wait()
    assert len((await log(box))["data"]) == 1


async def test_logs__hold_refusals_at_once_and_failed_generations_at_their_end(box: Box) -> None:
    refused = await box.submit("x", duration=99, headers={"x-client-request-id": "refused"})
    (row,) = (await log(box))["data"]
    assert (row["status"], row["client_request_id"], row["cost"]["credits"]) == ("failed", "refused", 0)
    assert row["inference_id"] == refused.headers["x-inference-id"]
    await box.bought("[[fault:fail]]", headers={"x-client-request-id": "broken"})
    assert len((await log(box))["data"]) == 1
    box.wait()
    newest = (await log(box))["data"][0]
    assert (newest["status"], newest["client_request_id"], newest["cost"]["usd"]) == ("failed", "broken", 0)


async def test_logs__hold_nothing_of_a_request_with_a_bad_key_or_lost_in_a_gateway(box: Box) -> None:
    await box.submit(headers={"authorization": "Bearer wrong"})
    await box.submit("[[fault:502-bare]]")
    assert (await log(box))["pagination"]["total"] == 0


async def test_logs__are_paged_newest_first_and_filtered(box: Box) -> None:
    for number in range(5):
        await box.submit(f"{number}", headers={"x-client-request-id": f"n{number}"})
        box.wait(1)
    await box.submit(model="openai/sora-9")
    await box.submit("x", duration=99)
    box.wait()
    assert (await log(box))["pagination"] == {"limit": 50, "offset": 0, "total": 7, "has_more": False}
    page = await log(box, "period=1h&status=succeeded&model=veo2&limit=2&offset=1")
    assert [row["client_request_id"] for row in page["data"]] == ["n3", "n2"]
    assert page["pagination"] == {"limit": 2, "offset": 1, "total": 5, "has_more": True}
    both = await log(box, "period=1h&status=succeeded&status=failed&model=veo2&model=openai/sora-9")
    assert both["pagination"]["total"] == 7
    assert (await log(box, "period=1h&model=veo2,openai/sora-9"))["data"] == []


async def test_logs__report_the_canonical_name_and_filter_by_the_alias_too(box: Box) -> None:
    await box.bought(model="veo2/image-to-video", image_url="https://example.com/a.png")
    box.wait()
    for name in ("veo2/image-to-video", "google/veo2/image-to-video"):
        (row,) = (await log(box, f"period=1h&model={name}"))["data"]
        assert row["model"] == "google/veo2/image-to-video"


async def test_logs__respect_the_window(box: Box) -> None:
    await box.bought()
    box.wait(7200)
    start = datetime.fromtimestamp(MORNING, UTC)
    assert len((await log(box, f"start={start:%Y-%m-%dT%H:%M:%SZ}&end={start:%Y-%m-%dT%H:%M:%S}.5Z"))["data"]) == 1
    assert (await log(box, f"start={start:%Y-%m-%dT%H:%M:%S}.5&end=2026-09-22"))["data"] == []
    assert (await log(box, "period=1h"))["data"] == []


@pytest.mark.parametrize(
    "query",
    [
        "", "period=24h&start=2026-09-01&end=2026-09-02", "start=2026-09-01", "period=0h", "period=2w", "period=93d",
        "start=2026-09-02&end=2026-09-01", "start=soon&end=later", "period=1h&limit=0", "period=1h&limit=101",
        "period=1h&offset=-1", "period=1h&status=succeeded,failed", "period=1h&limit=ten",
    ],
)  # fmt: skip
async def test_logs__refuse_what_the_documentation_refuses(box: Box, query: str) -> None:
    assert (await box.http.get(f"/v2/logs?{query}")).status_code == 400


async def test_logs__allow_so_many_reads_a_minute(open_box: OpenBox) -> None:
    box = open_box(log_requests_per_minute=3)
    for _ in range(3):
        await log(box)
    assert (await box.http.get("/v2/logs?period=1h")).status_code == 429
    box.wait(61)
    await log(box)


@pytest.mark.parametrize(
    "path", ["/v2/logs?period=1h", "/v2/billing", "/v2/billing/detail", "/v2/billing/transactions"]
)
async def test_account__needs_a_key(box: Box, path: str) -> None:
    assert (await box.http.get(path)).status_code == 200
    assert (await box.http.get(path, headers={"authorization": "Bearer wrong"})).status_code == 401


async def test_billing__falls_when_a_generation_finishes(open_box: OpenBox) -> None:
    box = open_box(balance_usd=100)
    await box.bought(duration=6)
    await box.bought("[[fault:fail-null]]")
    assert (await box.http.get("/v2/billing")).json() == {"current_balance": 100, "currency": "USD"}
    box.wait()
    assert (await box.http.get("/v2/billing")).json()["current_balance"] == 97
    detail = (await box.http.get("/v2/billing/detail")).json()
    assert (detail["current_balance"], detail["currency"]) == (97, "USD")


async def test_transactions__are_paged_by_cursor_and_hold_no_failures(box: Box) -> None:
    ids = []
    for number in range(5):
        ids.append(await box.bought(f"{number}"))
        box.wait(100)
    await box.bought("[[fault:fail]]")
    box.wait()
    running = await box.bought()
    pages, cursor = [], {}
    while True:
        page = (await box.http.get("/v2/billing/transactions", params={"limit": 2, **cursor})).json()
        pages.append(page["data"])
        if not page["pagination"]["has_more"]:
            assert page["pagination"]["next_cursor"] is None
            break
        cursor = {"cursor": page["pagination"]["next_cursor"]}
    entries = [entry for page in pages for entry in page]
    assert [len(page) for page in pages] == [2, 2, 2]
    assert [entry["reference_id"] for entry in entries] == [*reversed(ids), None]
    assert running not in [entry["reference_id"] for entry in entries]
    assert entries[0] | {"created_at": ""} == {
        "created_at": "",
        "direction": "CHARGE",
        "type": "MODEL_USAGE",
        "amount": {"usd": 2.5, "credits": 5_000_000},
        "model": "veo2",
        "reference_id": ids[-1],
    }
    assert (entries[-1]["direction"], entries[-1]["type"]) == ("TOPUP", "INIT")


async def test_transactions__are_filtered(box: Box) -> None:
    await box.bought()
    box.wait()
    path = "/v2/billing/transactions"
    for query, count in (
        ("type=MODEL_USAGE", 1),
        ("type=INIT", 1),
        ("direction=CHARGE", 1),
        ("type=REFUND", 0),
        ("", 2),
    ):
        assert len((await box.http.get(f"{path}?{query}")).json()["data"]) == count
    assert len((await box.http.get(f"{path}?type=MODEL_USAGE&from=2026-09-22T00:00:00Z")).json()["data"]) == 0
    for query in ("type=OTHER", "cursor=abc", "limit=0", "from=soon"):
        assert (await box.http.get(f"{path}?{query}")).status_code == 400


async def test_out_of_credits__shows_in_the_balance_for_a_while(box: Box) -> None:
    refused = await box.submit("[[fault:out-of-credits=30]]")
    assert refused.status_code == 403
    assert (await box.http.get("/v2/billing")).json()["current_balance"] == 0
    box.wait(31)
    assert (await box.http.get("/v2/billing")).json()["current_balance"] > 0


async def test_out_of_credits__by_chance_lasts_until_switched_off(open_box: OpenBox) -> None:
    box = open_box(faults={"out-of-credits": Odds(1.0)})
    assert (await box.submit()).status_code == 403
    box.wait()
    assert (await box.http.get("/v2/billing/detail")).json()["current_balance"] == 0
    await box.http.put("/_sandbox/faults", json={})
    await box.bought()
    assert (await box.http.get("/v2/billing/detail")).json()["current_balance"] > 0
