"""Every trick to reach an internal address that we know of, played through the real client against a real listener.

`test_addresses` and `test_guard` look at the guard's parts; here nothing is asked but whether a connection was made.
"""

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpcore2
import httpx2
import pytest

from app.domain.errors import AddressRefused, DownloadFailed
from app.outbound import guard as guard_module
from app.outbound.download import download
from app.outbound.guard import Guard
from tests.outbound.conftest import Listener, redirect

PUBLIC = "93.184.216.34"
LITERALS = {
    "plain": [
        "127.0.0.1",
        "127.0.0.2",
        "127.255.255.254",
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.9.9",
    ],
    "private": ["192.168.0.1", "100.64.0.1", "198.18.0.1", "192.0.0.192", "224.0.0.1", "240.0.0.1", "255.255.255.255"],
    "six": ["[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[fc00::1]", "[fd12:3456::1]", "[fe80::1]", "[fec0::1]", "[ff02::1]"],
    "mapped": ["[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::FFFF:10.0.0.1]", "[::ffff:169.254.169.254]"],
    "compatible": ["[::127.0.0.1]", "[::7f00:1]", "[::ffff:0:127.0.0.1]"],
    "nat64": ["[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::7f00:1]"],
    "6to4": ["[2002:7f00:1::]", "[2002:7f00:1::1]", "[2002:a9fe:a9fe::]", "[2002:c0a8:101::1]"],
    "teredo": ["[2001:0:7f00:1::]", "[2001:0:808:808:0:0:80ff:fffe]", "[2001::80ff:fffe]"],
    "isatap": ["[2a00:1450:4001:82b:0:5efe:127.0.0.1]", "[2a00:1450:4001:82b:200:5efe:10.0.0.1]"],
    "octal": ["0177.0.0.1", "0177.1", "017700000001", "127.0.0.01", "0000177.0.0.1"],
    "decimal": ["2130706433", "127.1", "127.0.1", "0", "3232235521"],
    "hexadecimal": ["0x7f000001", "0x7f.1", "0X7F.0.0.1", "127.0.0.0x1", "0x7f.0.0.0x1"],
    "zone": ["[fe80::1%25eth0]", "[fe80::1%eth0]", "[::1%25lo]", "[::1%lo]", "[2606:4700:4700::1111%25lo]"],
    "metadata": ["169.254.169.254", "169.254.170.2", "[fd00:ec2::254]", "168.63.129.16", "100.100.100.200"],
    "other digits": ["①②⑦.⓪.⓪.①", "１２７.0.0.1", "127。0。0。1", "127.0.0.1.", "127.0.0.1%00.example.com"],
}
"""Hosts that need no look-up."""
URLS = {
    "userinfo": [
        "http://films.example@127.0.0.1:{port}/",
        "http://films.example:80@127.0.0.1:{port}/",
        "http://films.example%40127.0.0.1:{port}/",
        "http://films.example\\@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}\\@films.example/",
        "http://@127.0.0.1:{port}/",
    ],
    "other schemes": [
        "ftp://127.0.0.1:{port}/",
        "gopher://127.0.0.1:{port}/_GET",
        "ws://127.0.0.1:{port}/",
        "file://127.0.0.1/etc/passwd",
        "//127.0.0.1:{port}/",
        "http:127.0.0.1:{port}",
        "http:///127.0.0.1:{port}/",
    ],
    "odd ports": [f"http://films.example:{port}/" for port in (0, 21, 22, 25, 2375, 5432, 6379, 9200, 10250, 65536)],
    "broken": [
        "http://127.0.0.1:{port}\t/",
        "http://127.0.0.1\r\n:{port}/",
        " http://127.0.0.1:{port}/",
        "http://[::1:{port}/",
    ],
}
ANSWERS = {
    "loopback": ["127.0.0.1"],
    "beside a public one": [PUBLIC, "127.0.0.1"],
    "before a public one": ["127.0.0.1", PUBLIC],
    "six": ["::1"],
    "mapped": ["::ffff:127.0.0.1"],
    "nat64": ["64:ff9b::7f00:1"],
    "6to4": ["2002:7f00:1::1"],
    "teredo": ["2001:0:808:808:0:0:80ff:fffe"],
    "zone": ["fe80::1%lo"],
    "metadata": ["169.254.169.254"],
    "unspecified": ["0.0.0.0"],
    "nonsense": ["localhost"],
}
"""What a name server of theirs says about films.example."""


def vectors() -> Iterator[Any]:
    for trick, hosts in LITERALS.items():
        for host in hosts:
            yield pytest.param(f"http://{host}:{{port}}/", [PUBLIC], id=f"{trick}: {host}")
    for trick, urls in URLS.items():
        for url in urls:
            yield pytest.param(url, [PUBLIC], id=f"{trick}: {url!r}")
    for trick, answers in ANSWERS.items():
        yield pytest.param("http://films.example:{port}/", answers, id=f"a name: {trick}")


VECTORS = list(vectors())


class Wire:
    """Where connections go: to this machine for real, elsewhere nowhere; each is noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dialed: list[str] = []
        real = httpcore2.AnyIOBackend.connect_tcp

        async def connect(backend: Any, host: str, port: int, *given: Any, **named: Any) -> Any:
            self.dialed.append(host)
            if not host.startswith("127."):
                raise httpcore2.ConnectError("nobody there")
            return await real(backend, host, port, *given, **named)

        monkeypatch.setattr(httpcore2.AnyIOBackend, "connect_tcp", connect)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    return Wire(monkeypatch)


@pytest.fixture
def open_port(internal: Listener, monkeypatch: pytest.MonkeyPatch) -> Listener:
    """The listener that nobody may reach, on a port that is called: only its address protects it."""
    monkeypatch.setattr(guard_module, "PORTS", {80, 443, internal.port})
    return internal


def resolving(*scripts: Sequence[str]) -> tuple[Guard, list[str]]:
    """Return a guard whose name server gives these answers in turn, the last again and again; and what it was asked."""
    left, asked = list(scripts), list[str]()

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return left[0] if len(left) == 1 else left.pop(0)

    return Guard(resolver=resolve), asked


async def fetch(url: str, guard: Guard, path: Path) -> None:
    await download(url, path, guard=guard, max_bytes=1000, deadline_seconds=5)


def test_vectors__are_many() -> None:
    assert len(VECTORS) >= 100
    assert len({*LITERALS, *URLS}) >= 15


@pytest.mark.parametrize(("url", "answers"), VECTORS)
async def test_download__never_connects(
    url: str, answers: list[str], open_port: Listener, wire: Wire, tmp_path: Path
) -> None:
    guard, _ = resolving(answers)
    with pytest.raises(AddressRefused):
        await fetch(url.replace("{port}", str(open_port.port)), guard, tmp_path / "film")
    assert wire.dialed == []
    assert open_port.connections == 0


@pytest.mark.parametrize(("url", "answers"), VECTORS)
async def test_download__never_follows(
    url: str, answers: list[str], open_port: Listener, listener: Listener, wire: Wire, tmp_path: Path
) -> None:
    """The same as the target of a redirect, from a host that may be called."""
    guard, _ = resolving(answers)
    guard._trusted |= {("127.0.0.1", listener.port)}
    listener.answers = [redirect(url.replace("{port}", str(open_port.port)).replace("\r\n", "%0d%0a"))]
    with pytest.raises(DownloadFailed):
        await fetch(listener.url(), guard, tmp_path / "film")
    # A target without a scheme and host of its own is a path on the host that may be called.
    assert {*wire.dialed} <= {"127.0.0.1"} and len(wire.dialed) == listener.connections
    assert open_port.connections == 0


async def test_rebinding__the_second_answer_is_never_asked_for(open_port: Listener, wire: Wire, tmp_path: Path) -> None:
    """A name that is public when it is judged and loopback a moment later: judged and dialed is the same answer."""
    guard, asked = resolving([PUBLIC], ["127.0.0.1"])
    with pytest.raises(DownloadFailed, match="ConnectError"):
        await fetch(f"http://films.example:{open_port.port}/", guard, tmp_path / "film")
    assert (asked, wire.dialed) == (["films.example"], [PUBLIC])
    with pytest.raises(AddressRefused):  # and when it is asked again, for another request, it is judged again
        await fetch(f"http://films.example:{open_port.port}/", guard, tmp_path / "film")
    assert (len(asked), wire.dialed, open_port.connections) == (2, [PUBLIC], 0)


async def test_rebinding__between_redirects(
    open_port: Listener, listener: Listener, wire: Wire, tmp_path: Path
) -> None:
    """The same name, trusted on one port only, in every hop."""
    guard, asked = resolving(["127.0.0.1"])
    guard._trusted |= {("films.example", listener.port)}
    listener.answers = [redirect("/again"), redirect(f"http://films.example:{open_port.port}/")]
    with pytest.raises(AddressRefused):
        await fetch(f"http://films.example:{listener.port}/", guard, tmp_path / "film")
    assert (len(asked), listener.connections, open_port.connections) == (3, 2, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "0x7f.1", "017700000001", "2130706433", "[::ffff:127.0.0.1]"])
async def test_vectors__are_real(host: str, listener: Listener) -> None:
    """Without the guard the system's own reading leads to the listener: the tricks would work."""
    plain = host.strip("[]")
    found = socket.getaddrinfo(plain, listener.port, type=socket.SOCK_STREAM)[0][4][0]
    assert found in ("127.0.0.1", "::ffff:127.0.0.1")
    async with httpx2.AsyncClient(trust_env=False) as client:
        await client.get(f"http://{host}:{listener.port}/")
    assert listener.connections == 1
