import asyncio
import socket
import ssl
from collections.abc import Iterable, Sequence

import httpcore2
import httpx2
import pytest

from app.domain.errors import AddressRefused
from app.outbound import guard as guard_module
from app.outbound.guard import Guard, GuardedBackend, resolve_by_system

from .conftest import Listener, listening, respond

TIMEOUT = httpx2.Timeout(5)
PLAIN = Guard()
TRUSTING = Guard(["127.0.0.1:8000"])


class Names:
    """A resolver with a script: each look-up of a name takes its next answer, the last one again and again."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = {name.replace("_", "."): script for name, script in answers.items()}
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        script = self.answers.get(host)
        if script is None:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return script[0] if len(script) == 1 else script.pop(0)


class Dialer(httpcore2.AsyncNetworkBackend):
    """Notes where a connection would go; those in `dead` do not answer."""

    def __init__(self, *dead: str) -> None:
        self.dialed: list[tuple[str, int]] = []
        self.dead = dead

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self.dialed.append((host, port))
        if host in self.dead:
            raise httpcore2.ConnectError("nobody there")
        return httpcore2.AsyncMockStream([])


# --- URLs


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "https://example.com/a?b=c#d",
        "HTTPS://EXAMPLE.com:443/",
        "http://example.com:8080/",
        "https://example.com:8443/",
        "https://example.com./",
        "https://under_score.example.com/",
        "https://bücher.example/",
        "http://93.184.216.34/",
        "http://[2606:4700:4700::1111]/",
        "https://1password.com/",
        "https://cafe.0xcafe.com/",
        "https://example.com/path@with/at?mail=a@b",
    ],
)
def test_check__lets_public_urls_pass(url: str) -> None:
    assert PLAIN.check(url) == httpx2.URL(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com:80/",
        "unix:///var/run/docker.sock",
        "data:text/plain,x",
        "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
        "http://",
        "http:///path",
        "http://user@example.com/",
        "http://user:pass@example.com/",
        "http://@example.com/",
        "http://example.com@127.0.0.1/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com\\.evil.example/",
        "http://exa mple.com/",
        "http://example.com/a b",
        "http://example.com/\r\nHost: x",
        "http://example.com/\x00",
        "\thttp://example.com/",
        "http://127.0.0.1/",
        "http://127.0.0.1./",
        "http://127.1/",
        "http://127.0.1/",
        "http://2130706433/",
        "http://017700000001/",
        "http://0177.0.0.1/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://0x7f.1/",
        "http://0X7F.1/",
        "http://127.0.0.0x1/",
        "http://010.8.8.8/",
        "http://0/",
        "http://0x/",
        "http://1.2.3.4.5/",
        "http://example.1/",
        "http://256.256.256.256/",
        "http://8.8.8.8%2f@127.0.0.1/",
        "http://①②⑦.⓪.⓪.①/",
        "http://１２７.0.0.1/",
        "http://127。0。0。1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[fe80::1%25eth0]/",
        "http://[2606:4700:4700::1111%25eth0]/",
        "http://[2606:4700:4700::1111%eth0]/",
        "http://[fd00:ec2::254]/",
        "http://[v1.fe80]/",
        "http://[::1/",
        "http://::1/",
        "http://example.com:22/",
        "http://example.com:6379/",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://example.com:5432/",
        "http://example.com:10250/",
        "http://.example.com/",
        "http://example..com/",
        "http://-example.com/",
        "http://exa%6dple.com/",
        "http://" + "a" * 64 + ".example." * 30 + "/",
    ],
)
def test_check__refuses(url: str) -> None:
    with pytest.raises(AddressRefused):
        PLAIN.check(url)


def test_check__tells_no_secrets() -> None:
    for url in (
        "http://127.0.0.1/p?sig=secret",
        "http://u:secret@example.com/",
        "http://[::1/?secret",
        "ftp://x/?secret",
    ):
        with pytest.raises(AddressRefused) as refused:
            PLAIN.check(url)
        assert "secret" not in str(refused.value)


# --- trusted entries


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("minio:9000", "http://minio:9000/"),
        ("MinIO:9000", "http://minio.:9000/"),
        ("127.0.0.1:8000", "http://127.0.0.1:8000/"),
        ("[::1]:8000", "http://[0:0:0:0:0:0:0:1]:8000/"),
        ("internal.example:443", "https://internal.example/"),
        ("bücher.example:99", "http://bücher.example:99/"),
    ],
)
def test_trusted__any_port_and_address(entry: str, url: str) -> None:
    assert Guard([entry]).check(url)


def test_trusted__exempts_nothing_else() -> None:
    with pytest.raises(AddressRefused):
        TRUSTING.check("http://minio:9000/")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8001/",
        "http://127.0.0.1/",
        "http://127.0.0.2:8000/",
        "http://x.127.0.0.1:8000/",
        "http://127.1:8000/",
    ],
)
def test_trusted__matches_exactly(url: str) -> None:
    with pytest.raises(AddressRefused):
        TRUSTING.check(url)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1:8000/", "http://user@127.0.0.1:8000/"])
def test_trusted__still_needs_a_plain_web_address(url: str) -> None:
    with pytest.raises(AddressRefused):
        TRUSTING.check(url)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "minio",
        "minio:",
        ":80",
        "minio:0",
        "minio:99999",
        "minio:http",
        "::1:80",
        "[::1]",
        "http://minio:80",
        "minio:80/",
        "*:80",
        "u@minio:80",
        "127.1:80",
        "a b:80",
    ],
)
def test_trusted__refuses_other_entries(entry: str) -> None:
    with pytest.raises(ValueError, match="not of the form host:port"):
        Guard([entry])


# --- names


async def test_resolve__returns_every_public_answer_once() -> None:
    names = Names(example_com=[["93.184.216.34", "2606:4700:4700::1111", "93.184.216.34"]])
    assert await Guard(resolver=names).resolve("example.com", 443) == ["93.184.216.34", "2606:4700:4700::1111"]
    assert names.asked == [("example.com", 443)]


@pytest.mark.parametrize(
    "answers",
    [
        ["127.0.0.1"],
        ["93.184.216.34", "10.0.0.1"],
        ["10.0.0.1", "93.184.216.34"],
        ["93.184.216.34", "::1"],
        ["93.184.216.34", "fe80::1%eth0"],
        ["::ffff:169.254.169.254"],
        ["93.184.216.34", "nonsense"],
    ],
)
async def test_resolve__refuses_if_any_answer_is_not_public(answers: list[str]) -> None:
    with pytest.raises(AddressRefused) as refused:
        await Guard(resolver=Names(example_com=[answers])).resolve("example.com", 443)
    assert not any(answer in str(refused.value) for answer in answers)
    assert refused.value.gone


@pytest.mark.parametrize(
    ("host", "port"), [("127.0.0.1", 80), ("::1", 80), ("example.com", 22), ("0x7f.1", 80), ("a%b", 80)]
)
async def test_resolve__judges_without_a_url_as_well(host: str, port: int) -> None:
    names = Names(example_com=[["93.184.216.34"]])
    with pytest.raises(AddressRefused):
        await Guard(resolver=names).resolve(host, port)
    assert names.asked == []


async def test_resolve__asks_nobody_about_an_address() -> None:
    names = Names()
    assert await Guard(resolver=names).resolve("8.8.8.8", 80) == ["8.8.8.8"]
    assert names.asked == []


@pytest.mark.parametrize("answers", [[], None])
async def test_resolve__no_answer_is_no_refusal(answers: list[str] | None) -> None:
    names = Names() if answers is None else Names(example_com=[answers])
    with pytest.raises(socket.gaierror):
        await Guard(resolver=names).resolve("example.com", 443)


async def test_resolve__trusted_names_may_be_internal() -> None:
    names = Names(minio=[["10.0.0.7"]])
    assert await Guard(["minio:9000"], resolver=names).resolve("minio", 9000) == ["10.0.0.7"]
    with pytest.raises(AddressRefused):
        await Guard(["minio:9000"], resolver=names).resolve("minio", 80)


async def test_resolve_by_system__knows_localhost() -> None:
    assert {"127.0.0.1", "::1"} & set(await resolve_by_system("localhost", 80))
    with pytest.raises(AddressRefused, match=r"^localhost has (a loopback|an unspecified) address"):
        await Guard().resolve("localhost", 80)


# --- connections


async def test_backend__connects_to_the_address_it_judged() -> None:
    names = Names(rebind_example=[["93.184.216.34"], ["127.0.0.1"]])
    dialer = Dialer()
    await GuardedBackend(Guard(resolver=names), inner=dialer).connect_tcp("rebind.example", 443, timeout=5)
    assert dialer.dialed == [("93.184.216.34", 443)]
    assert len(names.asked) == 1


async def test_backend__tries_each_address() -> None:
    names = Names(example_com=[["2606:4700:4700::1111", "93.184.216.34"]])
    dialer = Dialer("2606:4700:4700::1111")
    await GuardedBackend(Guard(resolver=names), inner=dialer).connect_tcp("example.com", 443, timeout=5)
    assert dialer.dialed == [("2606:4700:4700::1111", 443), ("93.184.216.34", 443)]
    nobody = Dialer("2606:4700:4700::1111", "93.184.216.34")
    with pytest.raises(httpcore2.ConnectError):
        await GuardedBackend(Guard(resolver=names), inner=nobody).connect_tcp("example.com", 443)
    assert len(nobody.dialed) == 2


async def test_backend__dials_nothing_when_refused() -> None:
    dialer = Dialer()
    backend = GuardedBackend(Guard(resolver=Names(example_com=[["93.184.216.34", "127.0.0.1"]])), inner=dialer)
    for host in ("example.com", "127.0.0.1", "169.254.169.254"):
        with pytest.raises(AddressRefused):
            await backend.connect_tcp(host, 80)
    with pytest.raises(AddressRefused):
        await backend.connect_unix_socket("/var/run/docker.sock")
    assert dialer.dialed == []


async def test_backend__a_slow_resolver_is_a_connect_timeout() -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(httpcore2.ConnectTimeout):
        await GuardedBackend(Guard(resolver=never)).connect_tcp("example.com", 80, timeout=0.05)


async def test_client__reaches_a_trusted_name_by_its_first_answer(listener: Listener) -> None:
    async with listening("127.0.0.2", listener.port) as other:
        names = Names(films_example=[["127.0.0.1"], ["127.0.0.2"]])
        guard = Guard([listener.trusted("films.example")], resolver=names)
        async with guard.client(timeout=TIMEOUT) as client:
            response = await client.get(listener.url(host="films.example"))
        assert response.status_code == 200
        assert (listener.connections, other.connections, len(names.asked)) == (1, 0, 1)
    assert f"Host: films.example:{listener.port}\r\n".encode() in listener.requests[0]


async def test_client__refuses_an_internal_address(internal: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module, "PORTS", {internal.port})
    guard = Guard(resolver=Names(evil_example=[["127.0.0.1"]]))
    async with guard.client(timeout=TIMEOUT) as client:
        for host in ("127.0.0.1", "evil.example", "[::ffff:127.0.0.1]"):
            with pytest.raises(AddressRefused):
                await client.get(internal.url(host=host))


async def test_client__refuses_what_only_the_url_tells(internal: Listener) -> None:
    async with Guard([internal.trusted()]).client(timeout=TIMEOUT) as client:
        with pytest.raises(AddressRefused):
            await client.get(internal.url(host="user:password@127.0.0.1"))


async def test_client__without_the_guard_the_listener_is_reached(listener: Listener) -> None:
    # The counterpart of the test above: what is refused there is reachable.
    async with httpx2.AsyncClient(trust_env=False) as client:
        await client.get(listener.url())
    assert listener.connections == 1


async def test_client__asks_no_proxy(listener: Listener, internal: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, internal.url(""))
    async with Guard([listener.trusted()]).client(timeout=TIMEOUT) as client:
        await client.get(listener.url())
    assert listener.connections == 1


async def test_client__follows_no_redirect(listener: Listener, internal: Listener) -> None:
    listener.answers = [respond(status="302 Found", Location=internal.url())]
    guard = Guard([listener.trusted(), internal.trusted()])
    async with guard.client(timeout=TIMEOUT) as client:
        assert (await client.get(listener.url())).status_code == 302


async def test_client__keeps_no_cookies(listener: Listener) -> None:
    listener.answers = [respond(Set_Cookie="a=b; Path=/")]
    async with Guard([listener.trusted()]).client(timeout=TIMEOUT) as client:
        await client.get(listener.url())
        await client.get(listener.url())
    assert listener.connections == 2
    assert b"cookie" not in listener.requests[1].lower()


async def test_client__tls_name_stays_the_hosts() -> None:
    greeting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeting.set_result(await reader.read(4096))
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    guard = Guard([f"films.example:{port}"], resolver=Names(films_example=[["127.0.0.1"]]))
    async with server, guard.client(timeout=TIMEOUT) as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get(f"https://films.example:{port}/")
    assert b"films.example" in await greeting


def test_transport__verifies_certificates() -> None:
    context = Guard()._tls
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


def test_transport__refuses_to_exist_where_the_guard_would_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    def another_init(self: httpx2.AsyncHTTPTransport, **_: object) -> None:
        self._other_pool = None

    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "__init__", another_init)
    with pytest.raises(RuntimeError, match="the guard would not hold"):
        Guard().transport()
