"""The upstream's public price list: which rule prices which model."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app.domain.money import PriceRule, rule_from_json
from app.upstream.wire import Malformed, usable_id

_LONGEST_ETAG = 512


@dataclass(frozen=True, slots=True)
class PriceList:
    """Rules by model id and alias; `skipped` counts the rows of video models that could not be read."""

    etag: str | None
    rules: dict[str, PriceRule]
    skipped: int = 0


def read_price_list(document: Any, *, etag: str | None) -> PriceList:
    """Read the list of models; raise Malformed if it is none, or if no row of it can be read.

    An id goes before an alias, and the first row before a later one that claims the same name.
    """
    rows = document.get("data") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise Malformed("The price list has no rows.")
    by_id: dict[str, PriceRule] = {}
    by_alias: dict[str, PriceRule] = {}
    skipped = 0
    for row in rows:
        if not _is_video(row):
            continue
        try:
            model, rule = _priced(row)
        except ValueError:
            skipped += 1
            continue
        by_id.setdefault(model, rule)
        for alias in _aliases(row):
            by_alias.setdefault(alias, rule)
    if skipped and not by_id:
        # Most likely the format changed. An older list is worth more than an empty one.
        raise Malformed("No row of the price list can be read.")
    return PriceList(etag=_usable_etag(etag), rules=by_alias | by_id, skipped=skipped)


def _priced(row: Any) -> tuple[str, PriceRule]:
    model = usable_id(row.get("id")) if isinstance(row, dict) else None
    if model is None:
        raise Malformed("The row names no model.")
    return model, rule_from_json(row.get("pricing"))


def _is_video(row: Any) -> bool:
    """Tell video models from the rest of the list; a row that does not say its type may be one."""
    if not isinstance(row, dict):
        return True
    kind = row.get("type")
    return not isinstance(kind, str) or "video" in kind


def _aliases(row: dict[str, Any]) -> Iterator[str]:
    aliases = row.get("aliases")
    if isinstance(aliases, list):
        yield from (name for alias in aliases if (name := usable_id(alias)))


def _usable_etag(etag: str | None) -> str | None:
    """Keep an ETag only if it can be stored and sent back as it is."""
    usable = etag and etag.isascii() and etag.isprintable() and len(etag) <= _LONGEST_ETAG
    return etag if usable else None
