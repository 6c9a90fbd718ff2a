"""What happens to the TCP connection: resets, cut answers, silence. On a real port."""

import asyncio
import json
import socket

import httpx2
import pytest

from tests.sandbox.conftest import KEY, PATH


async def submit(http: httpx2.AsyncClient, prompt: str) -> httpx2.Response:
    return await http.post(PATH, json={"model": "veo2", "prompt": prompt}, headers=KEY)


async def purchases(http: httpx2.AsyncClient, prompt: str) -> int:
    return int((await http.get("/_sandbox/ledger", params={"prompt": prompt, "limit": 1})).json()["count"])


async def finished_url(http: httpx2.AsyncClient, prompt: str) -> str:
    generation_id = (await submit(http, prompt)).json()["id"]
    while True:
        answer = (await http.get(PATH, params={"generation_id": generation_id}, headers=KEY)).json()
        if answer["status"] == "completed":
            return str(answer["video"]["url"])
        await asyncio.sleep(0.01)


@pytest.fixture
async def http(live: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=live, timeout=5)


@pytest.mark.parametrize(("fault", "bought"), [("reset-before", 0), ("reset-after", 1)])
async def test_reset__breaks_the_connection(http: httpx2.AsyncClient, live: str, fault: str, bought: int) -> None:
    body = json.dumps({"model": "veo2", "prompt": f"[[fault:{fault}]]"}).encode()
    lines = f"POST {PATH} HTTP/1.1", "host: x", f"authorization: {KEY['authorization']}", f"content-length: {len(body)}"
    head = "\r\n".join([*lines, "", ""])
    with socket.create_connection(("127.0.0.1", httpx2.URL(live).port or 0), timeout=5) as raw:
        raw.sendall(head.encode() + body)
        with pytest.raises(ConnectionResetError):
            await asyncio.to_thread(raw.recv, 1)
    async with http:
        assert await purchases(http, fault) == bought


@pytest.mark.parametrize(("fault", "sent"), [("truncate", None), ("truncate=9", 9), ("truncate=0", 0)])
async def test_truncate__cuts_a_bought_answer(http: httpx2.AsyncClient, fault: str, sent: int | None) -> None:
    prompt, got = f"[[fault:{fault}]]", b""
    async with http:
        whole = len((await submit(http, "like it, but whole")).content)
        with pytest.raises(httpx2.RemoteProtocolError):
            async with http.stream("POST", PATH, json={"model": "veo2", "prompt": prompt}, headers=KEY) as answer:
                assert (answer.status_code, answer.headers["content-length"]) == (200, str(whole))
                assert answer.headers["x-inference-id"].endswith(":veo2")
                async for chunk in answer.aiter_raw():
                    got += chunk
        assert len(got) == (whole // 2 if sent is None else sent)
        assert await purchases(http, prompt) == 1


@pytest.mark.parametrize(("fault", "bought"), [("hang-before", 0), ("hang-after", 1)])
async def test_hang__is_silent_and_sells_nothing_to_who_has_left(
    http: httpx2.AsyncClient, fault: str, bought: int
) -> None:
    async with http:
        with pytest.raises(httpx2.ReadTimeout):
            await http.post(PATH, json={"model": "veo2", "prompt": f"[[fault:{fault}]]"}, headers=KEY, timeout=0.2)
        assert await purchases(http, fault) == bought


async def test_truncated_video__ends_early(http: httpx2.AsyncClient) -> None:
    async with http:
        url = await finished_url(http, "[[fault:truncated-video=1]]")
        with pytest.raises(httpx2.RemoteProtocolError):
            await http.get(url)
        assert (await http.get(url)).content[4:8] == b"ftyp"


@pytest.mark.parametrize("area", ["poll", "logs", "billing", "models"])
async def test_area_reset__breaks_the_connection(http: httpx2.AsyncClient, area: str) -> None:
    paths = {"poll": PATH, "logs": "/v2/logs", "billing": "/v2/billing", "models": "/v1/models"}
    params = {"generation_id": "x", "period": "1h"}
    async with http:
        with pytest.raises(httpx2.ReadError):
            await http.get(paths[area], params=params, headers={**KEY, "x-sandbox-fault": f"{area}-reset"})
        with pytest.raises(httpx2.ReadTimeout):
            await http.get(paths[area], params=params, headers={**KEY, "x-sandbox-fault": f"{area}-hang"}, timeout=0.1)


async def test_poll_reset__strikes_the_first_poll_of_a_marked_prompt(http: httpx2.AsyncClient) -> None:
    async with http:
        generation_id = (await submit(http, "[[fault:poll-reset]]")).json()["id"]
        with pytest.raises(httpx2.ReadError):
            await http.get(PATH, params={"generation_id": generation_id}, headers=KEY)
        assert (await http.get(PATH, params={"generation_id": generation_id}, headers=KEY)).status_code == 200
