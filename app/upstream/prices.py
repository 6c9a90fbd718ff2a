"""The upstream's public list of models: which there are, and which rule prices which."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app.domain.listing import ListedModel
from app.domain.money import PriceRule, rule_from_json
from app.domain.text import clean
from app.upstream.wire import Malformed, usable_id

_LONGEST_ETAG = 512
_LONGEST_DEVELOPER = 100


@dataclass(frozen=True, slots=True)
class PriceList:
    """Rules by model id and alias, and the models; `skipped` counts the rows of video models without a usable price."""

    etag: str | None
    rules: dict[str, PriceRule]
    skipped: int = 0
    models: tuple[ListedModel, ...] = ()


def read_price_list(document: Any, *, etag: str | None) -> PriceList:
    """Read the list of models; raise Malformed if it is none, or if no row of it can be read.

    An id goes before an alias, and the first row before a later one that claims the same name.
    """
    rows = document.get("data") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise Malformed("The price list has no rows.")
    by_id: dict[str, PriceRule] = {}
    by_alias: dict[str, PriceRule] = {}
    models: list[ListedModel] = []
    skipped = 0
    for row in rows:
        if not _is_video(row):
            continue
        try:
            model = _listed(row)
            models.append(model)
            rule = rule_from_json(row.get("pricing"))
        except ValueError:
            skipped += 1
            continue
        by_id.setdefault(model.id, rule)
        for alias in model.aliases:
            by_alias.setdefault(alias, rule)
    if skipped and not by_id:
        # Most likely the format changed. An older list is worth more than an empty one.
        raise Malformed("No row of the price list can be read.")
    return PriceList(etag=_usable_etag(etag), rules=by_alias | by_id, skipped=skipped, models=tuple(models))


def _listed(row: Any) -> ListedModel:
    model = usable_id(row.get("id")) if isinstance(row, dict) else None
    if model is None:
        raise Malformed("The row names no model.")
    info = row.get("info")
    developer = info.get("developer") if isinstance(info, dict) else None
    shown = clean(developer, limit=_LONGEST_DEVELOPER) if isinstance(developer, str) else ""
    return ListedModel(model, tuple(_aliases(row)), shown or model.partition("/")[0])


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
