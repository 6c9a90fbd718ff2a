"""May we call this address: every connection to an address that came from outside goes through a Guard.

The name is resolved once, all answers are judged, and the connection is made to exactly those addresses, so that a
name server which changes its mind gains nothing. The TLS name and the Host header stay the name's own.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import ip_address

import httpcore2
import httpx2

from app.domain.errors import AddressRefused
from app.domain.text import clean
from app.outbound.addresses import denial

# The ports on which the web is served. Others are where databases, caches and consoles listen, often without a
# password; what needs one is listed as trusted.
PORTS = frozenset({80, 443, 8080, 8443})
DEFAULT_PORTS = {"http": 80, "https": 443}
_AUTHORITY = re.compile(r"[^:/?#]*://([^/?#]*)")
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*", re.ASCII)
_MAX_NAME = 253

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve_by_system(host: str, port: int) -> list[str]:
    """Ask the system's resolver. Raises OSError (socket.gaierror) if there is no answer."""
    loop = asyncio.get_running_loop()
    answers = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [str(answer[4][0]) for answer in answers]


class Guard:
    """Judges URLs and addresses, and hands out clients that can connect only to what it allows.

    `trusted` are the operator's `host:port` entries (an IPv6 host in brackets), matched exactly: they may have any
    address and any port. Raises ValueError over an entry that is none.
    """

    def __init__(self, trusted: Collection[str] = (), *, resolver: Resolver = resolve_by_system) -> None:
        self._trusted = frozenset(_parse_trusted(entry) for entry in trusted)
        self._resolver = resolver
        self._tls = _tls_context()

    def trusts(self, host: str, port: int) -> bool:
        """Tell whether the operator exempted this host and port."""
        return (_plain(host), port) in self._trusted

    def check(self, url: str | httpx2.URL) -> httpx2.URL:
        """Judge everything about a URL that needs no name look-up; return it parsed. Raises AddressRefused."""
        text = str(url)
        if not text.isprintable() or any(character.isspace() or character == "\\" for character in text):
            raise AddressRefused("The URL holds characters that no URL may hold.")
        authority = _AUTHORITY.match(text)
        if authority is None or "@" in authority[1]:
            raise AddressRefused("The URL must be a full http or https address without a user name.")
        try:
            parsed = httpx2.URL(url)
        except httpx2.InvalidURL:
            raise AddressRefused("The URL cannot be read.") from None  # its message may quote the query
        if parsed.scheme not in DEFAULT_PORTS:
            raise AddressRefused("Only http and https URLs are called.")
        self._check_host_and_port(parsed.raw_host.decode("ascii"), port_of(parsed))
        return parsed

    def _check_host_and_port(self, host: str, port: int) -> None:
        literal = _literal(host)  # first: it refuses what is no host at all
        if self.trusts(host, port):
            return
        if port not in PORTS:
            raise AddressRefused(f"Port {port} is not called; the web's are {', '.join(map(str, sorted(PORTS)))}.")
        if literal is not None and (kind := denial(literal)):
            raise AddressRefused(f"{host} is {kind} address; only public ones are called.")

    async def resolve(self, host: str, port: int) -> list[str]:
        """Return the addresses to connect to, asking the resolver once.

        Raises AddressRefused if any of them is not public and the host is not trusted; OSError if there is none.
        """
        self._check_host_and_port(host, port)
        literal = _literal(host)
        answers = [literal] if literal else await self._resolver(host, port)
        addresses = list(dict.fromkeys(answers))
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
        if not self.trusts(host, port):
            for address in addresses:
                if kind := denial(address):
                    # The address itself stays unsaid: the answer may reach whoever named the host.
                    raise AddressRefused(f"{clean(host)} has {kind} address; only public ones are called.")
        return addresses

    def transport(self) -> httpx2.AsyncHTTPTransport:
        """Return a transport for httpx2 that connects to allowed addresses only; close it after use."""
        return _GuardedTransport(self, tls=self._tls)

    def client(self, *, timeout: httpx2.Timeout) -> httpx2.AsyncClient:
        """Return a guarded client: no proxy from the environment, no redirects followed, no cookies kept."""
        return httpx2.AsyncClient(
            transport=self.transport(),
            timeout=timeout,
            trust_env=False,
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Opens connections for httpcore2: resolves and judges the name, then connects to one of the judged addresses."""

    def __init__(self, guard: Guard, *, inner: httpcore2.AsyncNetworkBackend | None = None) -> None:
        self._guard = guard
        self._inner = inner or httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Try each address in turn, sharing the time left. Raises AddressRefused before any packet leaves."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        addresses = await self._addresses(host, port, patience_seconds=timeout)
        failure: Exception | None = None
        for tried, address in enumerate(addresses):
            share = None if deadline is None else max(0.0, deadline - loop.time()) / (len(addresses) - tried)
            try:
                return await self._inner.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        assert failure is not None
        raise failure

    async def _addresses(self, host: str, port: int, *, patience_seconds: float | None) -> list[str]:
        try:
            async with asyncio.timeout(patience_seconds):
                return await self._guard.resolve(host, port)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout("the name look-up took too long") from error
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError("the name has no address") from error

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2's signature
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Refuse: no address from outside names a socket of this machine."""
        raise AddressRefused("Unix sockets are not called.")

    async def sleep(self, seconds: float) -> None:
        """Wait, for httpcore2's sake."""
        await self._inner.sleep(seconds)


class _GuardedTransport(httpx2.AsyncHTTPTransport):
    def __init__(self, guard: Guard, *, tls: ssl.SSLContext) -> None:
        super().__init__(verify=tls, trust_env=False)
        # httpx2 has no public way in for a network backend. Were `_pool` renamed, the guard would be bypassed in
        # silence: so look first, and refuse to exist.
        if not isinstance(getattr(self, "_pool", None), httpcore2.AsyncConnectionPool):
            raise RuntimeError("this httpx2 keeps its connection pool elsewhere; the guard would not hold")
        self._guard = guard
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=100,
            max_keepalive_connections=0,
            network_backend=GuardedBackend(guard),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self._guard.check(request.url)
        return await super().handle_async_request(request)


@cache
def _tls_context() -> ssl.SSLContext:
    """Read the certificates once: it takes longer than many a request."""
    return httpx2.create_ssl_context(trust_env=False)


def port_of(url: httpx2.URL) -> int:
    """Return the port that an http or https URL means."""
    return DEFAULT_PORTS[url.scheme] if url.port is None else url.port


def _plain(host: str) -> str:
    return str(ip_address(host)) if ":" in host else host.lower().rstrip(".")


def _literal(host: str) -> str | None:
    """Return the IP address that `host` is, None if it is a name. Raises AddressRefused for whatever is neither.

    Some resolvers read `2130706433`, `0x7f.1` and `0177.0.0.1` as 127.0.0.1: what ends in a number must be four plain
    decimals (the WHATWG URL standard's rule, without its leniency).
    """
    unreadable = AddressRefused("The URL's host is neither a plain name nor a plain address.")
    if ":" not in host:
        if len(host) > _MAX_NAME or not _NAME.fullmatch(host) or ".." in host:
            raise unreadable
        if not _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
            return None
    elif "%" in host:
        raise unreadable  # a zone names one of this machine's own interfaces
    try:
        return str(ip_address(host))
    except ValueError:
        raise unreadable from None


def _parse_trusted(entry: str) -> tuple[str, int]:
    refused = ValueError(f"{entry!r} is not of the form host:port")
    try:
        url = httpx2.URL(f"tcp://{entry.strip()}")
        host, port = url.raw_host.decode("ascii"), url.port or 0
        _literal(host)
    except (httpx2.InvalidURL, AddressRefused):
        raise refused from None
    if not 0 < port < 65536 or url.userinfo or str(url) != f"tcp://{url.netloc.decode('ascii')}":
        raise refused
    return _plain(host), port
