"""Whose word counts about where a request came from."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.acceptance.processes import Deployment


@pytest.fixture(params=["", "127.0.0.0/8"], ids=["nobody's", "the proxy's"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    opened = Deployment(tmp_path, upstream_url="http://127.0.0.1:9", database_url=None, trusted_proxies=request.param)
    # What uvicorn would read by itself.
    opened.environment["FORWARDED_ALLOW_IPS"] = "*"
    yield opened
    opened.close()


def test_address__is_the_peers_unless_it_is_a_proxy_of_ours(house: Deployment) -> None:
    """A caller can write into the header what it likes: a proxy appends to it whom it saw."""
    key = house.new_key()
    _, base = house.serve()
    headers = {"Authorization": f"Bearer {key}", "X-Forwarded-For": "198.51.100.1, 203.0.113.7"}
    httpx2.post(f"{base}/v1/tokens", headers=headers).raise_for_status()
    act = json.loads(house.run("audit", "--json", "--limit", "1"))[0]
    expected = "203.0.113.7" if house.environment["REELAY_TRUSTED_PROXIES"] else "127.0.0.1"
    assert (act["action"], act["by"]["address"]) == ("token.minted", expected)
