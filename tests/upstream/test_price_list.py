"""The public price list: read without the key, tolerant of rows, kept when unchanged."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from app.domain.errors import FetchFailed
from app.domain.listing import ListedModel
from app.domain.money import FixedPrice, VariablePrice, VariantPrice
from app.upstream.client import UpstreamClient
from app.upstream.prices import read_price_list
from app.upstream.wire import Malformed

from .conftest import KEY, Handler, always, failure

Pretend = Callable[[Handler], UpstreamClient]


VIDEO = "internal/video-generations/submit"
PER_SECOND = {"kind": "fixed", "currency": "USD", "units": [{"name": "o", "measure": "second", "price": 0.5, "per": 1}]}
BY_RESOLUTION = {
    "kind": "variants",
    "dimensions": ["resolution"],
    "variants": [{"when": {"resolution": "720p"}, "price": 0.65, "unit": "second", "per": 1}],
}


def row(model: Any, pricing: Any, **more: Any) -> dict[str, Any]:
    return {"id": model, "aliases": [], "type": VIDEO, "pricing": pricing} | more


def listing(*rows: Any) -> dict[str, Any]:
    return {"object": "list", "data": list(rows)}


async def test_prices__reads_the_list_without_the_key(pretend: Pretend) -> None:
    seen: list[httpx2.Request] = []

    def tell(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        rows = listing(row("a", PER_SECOND, aliases=["a/old"]), row("b", BY_RESOLUTION), row("c", {"kind": "variable"}))
        return httpx2.Response(200, json=rows, headers={"etag": 'W/"v1"'})

    found = await pretend(tell).prices()
    assert found is not None
    assert (found.etag, found.skipped) == ('W/"v1"', 0)
    assert {name: type(rule) for name, rule in found.rules.items()} == {
        "a": FixedPrice,
        "a/old": FixedPrice,
        "b": VariantPrice,
        "c": VariablePrice,
    }
    [request] = seen
    assert request.url.raw_path == b"/v1/models?include=pricing,modalities,capabilities"
    assert "authorization" not in request.headers
    assert "if-none-match" not in request.headers
    assert KEY not in repr(request.headers.raw)


async def test_prices__unchanged_list_is_none(pretend: Pretend) -> None:
    def tell(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(304 if request.headers.get("if-none-match") == 'W/"v1"' else 200, json=listing())

    client = pretend(tell)
    assert await client.prices(etag='W/"v1"') is None
    assert await client.prices(etag='W/"v2"') is not None


async def test_prices__skips_and_counts_what_it_cannot_read(pretend: Pretend, logs: list[Any]) -> None:
    rows = listing(
        row("good", PER_SECOND),
        row("bad", {"kind": "auction"}),
        row(None, PER_SECOND),
        row(["x"], PER_SECOND),
        row("none", None),
        "no row",
        row("chat", {"kind": "odd"}, type="chat-completion"),
    )
    found = await pretend(always(200, json=rows)).prices()
    assert found is not None
    assert (list(found.rules), found.skipped, found.etag) == (["good"], 5, None)
    assert [(entry["event"], entry["skipped"]) for entry in logs] == [("prices_skipped", 5)]


def test_read_price_list__id_goes_before_alias_and_first_before_later() -> None:
    rows = listing(
        row("a", PER_SECOND, aliases=["b", "x", 5, None, ""]),
        row("b", BY_RESOLUTION, aliases=["x"]),
        row("a", BY_RESOLUTION),
        row("c", {"kind": "variable"}, aliases=None, type=None),
    )
    found = read_price_list(rows, etag=None)
    assert {name: type(rule) for name, rule in found.rules.items()} == {
        "a": FixedPrice,
        "b": VariantPrice,
        "x": FixedPrice,
        "5": FixedPrice,
        "c": VariablePrice,
    }


@pytest.mark.parametrize("etag", ["ü", "a\nb", "x" * 600, "", None])
def test_read_price_list__keeps_no_etag_that_cannot_be_sent_back(etag: str | None) -> None:
    assert read_price_list(listing(), etag=etag).etag is None


@pytest.mark.parametrize("document", [None, [], {}, {"data": {}}, listing("x"), listing(row("a", {"kind": "new"}))])
def test_read_price_list__refuses_what_is_no_list(document: Any) -> None:
    with pytest.raises(Malformed):
        read_price_list(document, etag=None)


@pytest.mark.parametrize("status", [200, 304, 401, 403, 404, 429, 500])
async def test_prices__anything_wrong_is_a_failure(pretend: Pretend, status: int) -> None:
    error = await failure(pretend(always(status, json={"message": KEY})).prices())
    assert (type(error), error.http_status) == (FetchFailed, status)


async def test_prices__long_list_is_read_whole(pretend: Pretend) -> None:
    rows = listing(*(row(f"m{number}", PER_SECOND, note="x" * 1000) for number in range(2000)))
    assert len(json.dumps(rows)) > 2_000_000
    found = await pretend(always(200, json=rows)).prices()
    assert found is not None
    assert len(found.rules) == 2000


def test_read_price_list__lists_models_that_have_no_price_too() -> None:
    found = read_price_list(
        listing(
            row("a", PER_SECOND, aliases=["a/old", None], info={"developer": "Acme\x00 Corporation"}),
            row("b/c", {"kind": "by the moon"}),
            row("chat", PER_SECOND, type="internal/chat-completions"),
            row("", PER_SECOND),
        ),
        etag=None,
    )
    assert found.models == (ListedModel("a", ("a/old",), "Acme Corporation"), ListedModel("b/c", (), "b"))
    assert (set(found.rules), found.skipped) == ({"a", "a/old"}, 2)
