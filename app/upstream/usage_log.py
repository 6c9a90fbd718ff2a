"""The upstream's usage log: one page of its rows in, ours out. What cannot be told is None, never guessed."""

from dataclasses import dataclass
from typing import Any

from app.domain.usage_log import LoggedRequest
from app.upstream.wire import model_name, moment, read_page, usable_id, whole_credits

PAGE_ROWS = 100
"""The most that one request may ask for, as documented."""
_OUTCOMES = {"succeeded": True, "failed": False}


@dataclass(frozen=True, slots=True)
class LogPage:
    """The rows of one page, and whether the log goes on."""

    rows: list[LoggedRequest]
    has_more: bool


def read_log_page(document: Any) -> LogPage:
    """Read one answer of `GET /v2/logs`; raise Malformed for what is no page of rows, whole."""
    rows, pagination = read_page(document, of="The usage log")
    return LogPage([_row(row) for row in rows], has_more=pagination["has_more"])


def _row(row: dict[str, Any]) -> LoggedRequest:
    request_id, cost = row.get("client_request_id"), row.get("cost")
    return LoggedRequest(
        request_id=request_id if isinstance(request_id, str) else "",
        inference_id=usable_id(row.get("inference_id")),
        succeeded=_OUTCOMES.get(str(row.get("status")).lower()),
        model=model_name(row.get("model")),
        credits=whole_credits(cost.get("credits")) if isinstance(cost, dict) else None,
        created_at=moment(row.get("created")),
    )
