"""The client of the paid video API: buying a generation, and the free reads. Nothing else holds the upstream's key."""

import hashlib
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import httpx2
import structlog
from pydantic import SecretStr

from app.domain.errors import FetchFailed, GenerationUnknown, Refused
from app.metrics import called
from app.upstream import wire
from app.upstream.exchange import ANSWER_CAP, Exchange, exchange
from app.upstream.one_host import Carried, OneHost, Reads
from app.upstream.prices import PriceList, read_price_list
from app.upstream.scrubbing import Scrub
from app.upstream.submit import DEFINITE_STATUSES, PaidPost, refusal_of, refusal_text
from app.upstream.transactions import PAGE_ROWS as TRANSACTIONS
from app.upstream.transactions import USAGE, TransactionPage, read_transaction_page
from app.upstream.usage_log import PAGE_ROWS, LogPage, read_log_page

log = structlog.get_logger()

FETCH_TIMEOUT_SECONDS = 20.0
_PRICES_PATH = "/v1/models?include=pricing,modalities,capabilities"
_BALANCE_PATH = "/v2/billing/detail"
_LOG_PATH = "/v2/logs"
_TRANSACTIONS_PATH = "/v2/billing/transactions"
_PRICES_CAP = 16 * 1024 * 1024
_MOST_WORDS_REMEMBERED = 100


class UpstreamClient:
    """Speaks with one upstream under one key. Build it once, at start-up; close it at the end.

    What goes wrong is raised as an `UpstreamFailure` whose message is clean and free of the key. `transport` carries
    the reads, `submit_transport` the paid POST; one that reports no trace events makes every failure of a submission
    unconfirmed, because nothing then tells whether the request had left.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: SecretStr,
        submit_timeout_seconds: float = 120,
        fetch_timeout_seconds: float = FETCH_TIMEOUT_SECONDS,
        connect_timeout_seconds: float = 10,
        definite_statuses: frozenset[int] = DEFINITE_STATUSES,
        transport: httpx2.AsyncBaseTransport | None = None,
        submit_transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """Raise ValueError for a URL or a key that no request could be made with."""
        _check(url, api_key=api_key)
        self._url = url.rstrip("/")
        self._key = api_key
        self._scrub = Scrub(api_key)
        self._fetch_timeout_seconds = fetch_timeout_seconds
        self._words_seen: set[str] = set()
        self._targets: dict[str, str] = {}
        self._paid_post = PaidPost(
            api_key,
            url=self._url,
            scrub=self._scrub,
            timeout_seconds=submit_timeout_seconds,
            connect_timeout_seconds=connect_timeout_seconds,
            definite_statuses=definite_statuses,
            transport=submit_transport,
        )
        self._reads: Reads = (
            OneHost(self._url, connect_timeout_seconds=connect_timeout_seconds)
            if transport is None
            else Carried(transport, url=self._url)
        )

    @property
    def key_print(self) -> str:
        """Which key this is, without telling anything of it: another key's log may not show what this one bought."""
        return hashlib.sha256(b"reelay key print\0" + self._key.get_secret_value().encode()).hexdigest()[:12]

    @called("submit")
    async def submit(
        self,
        *,
        path: str,
        model: str,
        input: dict[str, Any],  # noqa: A002 - the word of the house for it
        request_id: str,
    ) -> wire.Submitted:
        """Buy one generation. Never call it twice for one submission: a second POST is a second purchase.

        `request_id` is what the usage log will know the purchase by. Raises NotSent or Refused when certainly nothing
        was bought, and Unconfirmed when something may have been.
        """
        return await self._paid_post.send(path=path, body={**input, "model": model}, request_id=request_id)

    @called("poll")
    async def fetch(self, *, path: str, generation_id: str) -> wire.Generation:
        """Ask how a generation stands. Raises GenerationUnknown, Refused (the key) or FetchFailed."""
        seen = await self._get(path, params={"generation_id": generation_id})
        if seen.status == 404:
            raise GenerationUnknown(refusal_text(seen, scrub=self._scrub), http_status=404)
        document = self._require(seen)
        if isinstance(document, dict) and not wire.is_about(document, generation_id=generation_id):
            raise FetchFailed("The upstream answered about another generation.", http_status=seen.status)
        try:
            generation = wire.read_generation(document, scrub=self._scrub)
        except wire.Malformed as fault:
            raise FetchFailed(str(fault), http_status=seen.status) from None
        self._notice(generation.word)
        return generation

    @called("prices")
    async def prices(self, *, etag: str | None = None) -> PriceList | None:
        """Read the public price list, without the key; None if it is still the one with this `etag`."""
        seen = await self._get(
            _PRICES_PATH, headers={"If-None-Match": etag} if etag else {}, with_key=False, cap=_PRICES_CAP
        )
        if seen.status == 304 and etag:
            return None
        document = self._require(seen, with_key=False)
        try:
            listed = read_price_list(document, etag=seen.headers.get("etag"))
        except wire.Malformed as fault:
            raise FetchFailed(str(fault), http_status=seen.status) from None
        if listed.skipped:
            log.warning("prices_skipped", skipped=listed.skipped, read=len(listed.rules))
        return listed

    @called("balance")
    async def balance(self) -> wire.Balance:
        """Read the account's balance: also the free way to try the key. Raises Refused or FetchFailed."""
        return wire.read_balance(self._require(await self._get(_BALANCE_PATH)))

    @called("log")
    async def log_page(self, *, start: datetime, end: datetime, offset: int) -> LogPage:
        """Read one page of the usage log, newest first: at most PAGE_ROWS requests made between the two moments.

        Raises Refused (the key) or FetchFailed. The upstream allows 200 such reads a minute.
        """
        window = {"start": _instant(start), "end": _instant(end)}
        seen = await self._get(_LOG_PATH, params=window | {"limit": str(PAGE_ROWS), "offset": str(offset)})
        try:
            return read_log_page(self._require(seen))
        except wire.Malformed as fault:
            raise FetchFailed(str(fault), http_status=seen.status) from None

    @called("transactions")
    async def transactions(self, *, since: datetime, cursor: str | None = None) -> TransactionPage:
        """Read one page of what the account was charged since then, newest first. Raises Refused or FetchFailed."""
        asked = {"type": USAGE, "from": _instant(since), "limit": str(TRANSACTIONS)} | (
            {"cursor": cursor} if cursor else {}
        )
        seen = await self._get(_TRANSACTIONS_PATH, params=asked)
        try:
            return read_transaction_page(self._require(seen))
        except wire.Malformed as fault:
            raise FetchFailed(str(fault), http_status=seen.status) from None

    async def aclose(self) -> None:
        """Close the connections."""
        try:
            await self._paid_post.aclose()
        finally:
            await self._reads.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _get(
        self,
        path: str,
        *,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        with_key: bool = True,
        cap: int = ANSWER_CAP,
    ) -> Exchange:
        # A path without a slash could end up in the host's name, and the key at another host.
        if not path.startswith("/"):
            raise FetchFailed("The upstream path must begin with a slash.")
        try:
            target = self._target(path) + (f"?{urlencode(params)}" if params else "")
        except (ValueError, httpx2.InvalidURL) as fault:
            raise FetchFailed(self._scrub(f"The request cannot be written: {fault}")) from None
        sent = {"Accept": "application/json", **(headers or {})}
        if with_key:
            sent["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        return await exchange(
            lambda _trace: self._reads.get(target, headers=sent), seconds=self._fetch_timeout_seconds, cap=cap
        )

    def _target(self, path: str) -> str:
        """Return the path as it is asked for at the host: below the upstream's own, and percent-encoded."""
        if path not in self._targets:
            self._targets[path] = httpx2.URL(self._url + path).raw_path.decode("ascii")
        return self._targets[path]

    def _require(self, seen: Exchange, *, with_key: bool = True) -> Any:
        """Return the document of a good answer; raise Refused if the key is at fault, else FetchFailed."""
        if seen.status is None:
            raise FetchFailed(self._scrub(f"The upstream did not answer: {seen.trouble}"))
        if not 200 <= seen.status < 300:
            message, later = refusal_text(seen, scrub=self._scrub), seen.retry_after_seconds()
            if seen.status in (401, 403) and with_key:
                refusal = refusal_of(seen.status)
                raise Refused(message, refusal=refusal, http_status=seen.status, retry_after_seconds=later)
            raise FetchFailed(message, http_status=seen.status, retry_after_seconds=later)
        document = seen.document()
        if document is None:
            trouble = seen.trouble or "it is not JSON"
            raise FetchFailed(self._scrub(f"The answer cannot be read: {trouble}."), http_status=seen.status)
        return document

    def _notice(self, word: str) -> None:
        """Log a status word never seen before: once, or polling would repeat it for every job."""
        if word.lower() in wire.STATUS_WORDS or word in self._words_seen:
            return
        if len(self._words_seen) < _MOST_WORDS_REMEMBERED:
            self._words_seen.add(word)
            log.warning("upstream_status_unknown", word=word)


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _check(url: str, *, api_key: SecretStr) -> None:
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ValueError(f"the upstream URL can't be read: {error}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError("the upstream URL must begin with http:// or https:// and name a host")
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise ValueError("the upstream URL must hold no user, no query and no fragment")
    key = api_key.get_secret_value()
    if not key or " " in key or not (key.isascii() and key.isprintable()):
        raise ValueError("the upstream key must be printable ASCII text without spaces")
