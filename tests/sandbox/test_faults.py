"""Every fault that needs no TCP connection: what it answers, and whether anything was bought."""

import asyncio
from typing import Any

import pytest

from app.sandbox.faults import AREAS, KNOWN, Asked, Odds, UnknownFault, parse, parse_prompt, without_marks
from tests.sandbox.conftest import Box, OpenBox

ENVELOPE = {"message", "path", "requestId", "statusCode", "timestamp"}


def test_parse__reads_names_values_and_times() -> None:
    assert parse("429=5*2; lost") == [Asked("429", "5", 2), Asked("lost", None, None)]
    assert parse_prompt("a [[fault:slow=3]] boat [[fault:fail]]") == [
        Asked("slow", "3", None),
        Asked("fail", None, None),
    ]
    assert without_marks("a [[fault:slow=3]] boat [[fault:fail]]") == "a boat"
    with pytest.raises(UnknownFault, match="typo"):
        parse("typo")


@pytest.mark.parametrize("name", ["401", "403", "429", "500", "503", "out-of-credits"])
async def test_refusal__has_the_envelope_and_buys_nothing(box: Box, name: str) -> None:
    answer = await box.submit(headers={"x-sandbox-fault": name})
    status = 403 if name == "out-of-credits" else int(name)
    assert answer.status_code == status
    assert answer.json().keys() == ENVELOPE
    assert answer.json()["statusCode"] == (status if status < 500 else str(status))
    assert "retry-after" not in answer.headers
    assert (await box.ledger())["count"] == 0
    rows = (await box.http.get("/v2/logs?period=1h")).json()["data"]
    assert [row["status"] for row in rows] == ([] if name == "401" else ["failed"])


async def test_429__carries_a_retry_after_when_asked(box: Box) -> None:
    assert (await box.submit("[[fault:429=7]]")).headers["retry-after"] == "7"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("after", ["", "-after"])
async def test_gateway__answers_without_envelope(box: Box, status: int, after: str) -> None:
    answer = await box.submit(f"[[fault:{status}-bare{after}]]")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert (await box.ledger())["count"] == (1 if after else 0)


@pytest.mark.parametrize("status", [500, 503])
async def test_failure_after_purchase__has_the_envelope_and_no_failed_row(box: Box, status: int) -> None:
    answer = await box.submit(f"[[fault:{status}-after]]", headers={"x-client-request-id": "mine"})
    assert (answer.status_code, answer.json().keys()) == (status, ENVELOPE)
    (purchase,) = (await box.ledger())["purchases"]
    assert answer.headers["x-inference-id"] == purchase["generation_id"]
    box.wait()
    rows = (await box.http.get("/v2/logs?period=1h")).json()["data"]
    assert [(row["status"], row["client_request_id"]) for row in rows] == [("succeeded", "mine")]


async def test_times__limit_a_fault_to_the_first_uses_of_a_prompt(box: Box) -> None:
    for expected in (503, 503, 200, 200):
        assert (await box.submit("[[fault:503-bare*2]] one")).status_code == expected
    assert (await box.submit("[[fault:503-bare*2]] another")).status_code == 503


async def test_hang__gives_way_to_the_answer_when_its_time_is_over(box: Box) -> None:
    for name in ("hang-before=0.01", "hang-after=0.01"):
        assert (await box.submit(f"[[fault:{name}]]")).status_code == 200
    assert (await box.ledger())["count"] == 2


async def test_repeat_id__names_the_previous_generation_but_sells_a_new_one(box: Box) -> None:
    first = await box.bought("first")
    answer = await box.submit("second [[fault:repeat-id]]", headers={"x-client-request-id": "second"})
    assert (answer.json()["id"], answer.headers["x-inference-id"]) == (first, first)
    ledger = await box.ledger()
    assert ledger["count"] == 2
    assert ledger["purchases"][1]["client_request_id"] == "second"
    assert ledger["purchases"][1]["generation_id"] != first


@pytest.mark.parametrize(("fault", "word"), [("unknown-status", "dreaming"), ("unknown-status=baking", "baking")])
async def test_unknown_status__is_a_word_never_seen(box: Box, fault: str, word: str) -> None:
    generation_id = await box.bought(f"[[fault:{fault}]]")
    box.wait(20)
    assert (await box.poll(generation_id)).json()["status"] == word
    box.wait()
    assert (await box.poll(generation_id)).json()["status"] == "completed"


async def test_waiting_words__replace_the_documented_ones(box: Box) -> None:
    answer = await box.submit("[[fault:waiting-words]]")
    words = [answer.json()["status"]]
    for seconds in (0, 20, 60):
        box.wait(seconds)
        words.append((await box.poll(answer.json()["id"])).json()["status"])
    assert words == ["waiting", "waiting", "active", "succeeded"]


async def test_no_url__completes_without_a_video(box: Box) -> None:
    never = await box.finished("[[fault:no-url]]")
    for _ in range(4):
        answer = (await box.poll(never["id"])).json()
        assert (answer["status"], answer["video"]) == ("completed", None)
    late = await box.finished("[[fault:no-url=2]]")
    polls = [late, *[(await box.poll(late["id"])).json() for _ in range(2)]]
    assert [bool(poll["video"]) for poll in polls] == [False, False, True]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("fail", {"name": "GenerationError", "message": "The model could not generate this video."}),
        ("fail-string", "Generation failed: internal model error"),
        ("fail-null", None),
    ],
)
async def test_fail__ends_in_an_error_that_costs_nothing(box: Box, fault: str, error: Any) -> None:
    answer = await box.finished(f"[[fault:{fault}]]")
    assert (answer["status"], answer["error"]) == ("error", error)
    assert "video" not in answer
    (purchase,) = (await box.ledger())["purchases"]
    assert (purchase["status"], purchase["cost_credits"]) == ("error", 0)
    charges = (await box.http.get("/v2/billing/transactions?type=MODEL_USAGE")).json()["data"]
    assert charges == []


async def test_fail_detail__has_the_shape_of_a_face_check(box: Box) -> None:
    (detail,) = (await box.finished("[[fault:fail-detail]]"))["error"]["detail"]
    assert detail.keys() == {"loc", "msg", "type", "input"}
    assert detail["type"] == "face_detection_error"


async def test_mislabelled_video__is_a_page_or_a_picture(box: Box) -> None:
    for fault, start in (("mislabelled-video", b"<!doctype html"), ("mislabelled-video=png", b"\x89PNG")):
        answer = await box.http.get((await box.finished(f"[[fault:{fault}]]"))["video"]["url"])
        assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
        assert answer.content.startswith(start)


async def test_video_404__has_no_file(box: Box) -> None:
    assert (await box.http.get((await box.finished("[[fault:video-404]]"))["video"]["url"])).status_code == 404


async def test_expired_url__is_followed_by_a_good_one(box: Box) -> None:
    first = await box.finished("[[fault:expired-url]]")
    assert (await box.http.get(first["video"]["url"])).status_code == 403
    second = (await box.poll(first["id"])).json()
    assert (await box.http.get(second["video"]["url"])).status_code == 200


async def test_no_credits__are_reported_nowhere(box: Box) -> None:
    answer = await box.submit("[[fault:no-credits]]")
    box.wait()
    assert "meta" not in answer.json()
    assert "x-aimlapi-credits-used" not in answer.headers
    assert "meta" not in (await box.poll(answer.json()["id"])).json()
    assert (await box.ledger())["purchases"][0]["cost_credits"] == 5_000_000


@pytest.mark.parametrize(("fault", "times"), [("slow", 10), ("slow=3", 3)])
async def test_slow__takes_so_many_times_longer(box: Box, fault: str, times: int) -> None:
    generation_id = await box.bought(f"[[fault:{fault}]]")
    box.wait(30 * times)
    assert (await box.poll(generation_id)).json()["status"] == "generating"
    box.wait(30 * times)
    assert (await box.poll(generation_id)).json()["status"] == "completed"


async def test_lost__is_bought_and_never_found(box: Box) -> None:
    generation_id = await box.bought("[[fault:lost]]")
    box.wait()
    assert (await box.poll(generation_id)).status_code == 404
    assert (await box.ledger())["purchases"][0]["cost_credits"] == 5_000_000


@pytest.mark.parametrize(
    ("fault", "statuses"),
    [
        ("lag-404", [404, 200]),
        ("lag-404=2", [404, 404, 200]),
        ("poll-500", [500, 200]),
        ("poll-500=2", [500, 500, 200]),
        ("poll-503-bare", [503, 200]),
        ("poll-429=3", [429, 429, 429, 200]),
    ],
)
async def test_poll_faults__strike_the_first_polls(box: Box, fault: str, statuses: list[int]) -> None:
    generation_id = await box.bought(f"[[fault:{fault}]]")
    assert [(await box.poll(generation_id)).status_code for _ in statuses] == statuses


async def test_poll_hang__says_nothing(box: Box) -> None:
    generation_id = await box.bought("[[fault:poll-hang]]")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(box.poll(generation_id), 0.05)
    assert (await box.poll(generation_id)).status_code == 200


@pytest.mark.parametrize("area", AREAS)
@pytest.mark.parametrize("trouble", ["429", "500", "503-bare"])
async def test_area_faults__strike_by_chance_and_by_header(box: Box, area: str, trouble: str) -> None:
    answer = await box.finished()
    paths = {
        "poll": f"/v2/video/generations?generation_id={answer['id']}",
        "logs": "/v2/logs?period=1h",
        "billing": "/v2/billing",
        "models": "/v1/models",
        "video": answer["video"]["url"],
    }
    status = int(trouble.removesuffix("-bare"))
    asked = await box.http.get(paths[area], headers={"x-sandbox-fault": f"{area}-{trouble}"})
    assert asked.status_code == status
    await box.http.put("/_sandbox/faults", json={f"{area}-{trouble}": 1})
    for name, path in paths.items():
        assert (await box.http.get(path)).status_code == (status if name == area else 200)
    assert (await box.submit()).status_code == 200


async def test_odds__strike_as_often_as_told_and_the_same_way_again(open_box: OpenBox) -> None:
    async def outcomes() -> list[int]:
        box = open_box(faults={"503-bare": Odds(0.3)}, max_in_flight=500)
        await box.http.post("/_sandbox/reset")
        return [(await box.submit(f"{number}")).status_code for number in range(200)]

    first = await outcomes()
    assert 40 <= first.count(503) <= 80
    assert first == await outcomes()


async def test_odds__can_have_a_value_and_an_end(box: Box) -> None:
    put = await box.http.put("/_sandbox/faults", json={"429": {"probability": 1, "value": "3", "times": 2}})
    assert put.json()["active"] == {"429": {"probability": 1, "value": "3", "times": 2}}
    answers = [await box.submit() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "3"
    assert (await box.http.get("/_sandbox/stats")).json()["faults_struck"] == {"429": 2}


@pytest.mark.parametrize("body", [{"nonsense": 1}, {"429": 2}, {"429": "often"}, ["429"]])
async def test_odds__refuse_what_cannot_be(box: Box, body: Any) -> None:
    assert (await box.http.put("/_sandbox/faults", json=body)).status_code == 400
    assert (await box.http.get("/_sandbox/faults")).json()["active"] == {}


async def test_faults__are_listed_with_what_they_do(box: Box) -> None:
    known = (await box.http.get("/_sandbox/faults")).json()["known"]
    assert known == KNOWN
    assert (await box.submit(headers={"x-sandbox-fault": "nonsense"})).status_code == 400
