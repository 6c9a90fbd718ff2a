"""What the account can be asked: the usage log, the balance, its movements. Shapes as in the upstream's OpenAPI."""

import base64
import json
import math
import re
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.sandbox.answers import Refused, timestamp
from app.sandbox.prices import usd
from app.sandbox.sandbox import CANONICAL, Sandbox, of
from app.sandbox.store import Charge, LogRow

_LONGEST_WINDOW_SECONDS = 92 * 24 * 3600
_PERIOD = re.compile(r"([1-9][0-9]{0,5})([hd])")
_PERIOD_SECONDS = {"h": 3600, "d": 24 * 3600}
_STATUSES = ("succeeded", "failed")
_NO_TOKENS = {"input": 0, "output": 0, "total": 0}
_TYPES = ("PAYMENT", "BONUS", "REFUND", "ADJUSTMENT", "MODEL_USAGE", "CREDITS_EXPIRED", "INIT")


def _bad(expectation: str) -> Refused:
    return Refused(400, f"Validation error: {expectation}")


async def logs(request: Request) -> Response:
    """List requests, newest first; rows come with the configured lag, those of videos only once they finished."""
    box = of(request)
    box.check_key(request)
    box.note_log_read()
    limit, offset = _whole(request, "limit", 50, 1, 100), _whole(request, "offset", 0, 0, 10**9)
    statuses, models = request.query_params.getlist("status"), request.query_params.getlist("model")
    if not set(statuses) <= set(_STATUSES):
        raise _bad('"status" expected succeeded | failed, one per parameter')
    if len(models) > 50:
        raise _bad('"model" expected at most 50 values')
    rows, total = box.store.log_page(
        _window(request, box.now),
        visible=box.now - box.config.log_lag_seconds,
        models=[CANONICAL.get(name, name) for name in models],
        statuses=statuses,
        page=(limit, offset),
    )
    pagination = {"limit": limit, "offset": offset, "total": total, "has_more": offset + len(rows) < total}
    return JSONResponse({"data": [_log_row(row) for row in rows], "pagination": pagination})


def _log_row(row: LogRow) -> dict[str, object]:
    return {
        "created": timestamp(row.created),
        "status": row.status,
        "origin": "api",
        "model": row.model,
        "cost": {"usd": usd(row.credits), "credits": row.credits},
        "tokens": _NO_TOKENS,
        "request_id": row.request_id,
        "inference_id": row.inference_id,
        "client_request_id": row.client_request_id,
    }


def _window(request: Request, now: float) -> tuple[float, float]:
    """Read either `period` or both `start` and `end`, as documented; raise Refused (400) for anything else."""
    period, start, end = (request.query_params.get(name) for name in ("period", "start", "end"))
    if period is not None and start is None and end is None:
        match = _PERIOD.fullmatch(period)
        if match is None:
            raise _bad('"period" expected a positive integer followed by h or d')
        window = now - int(match[1]) * _PERIOD_SECONDS[match[2]], now
    elif period is None and start is not None and end is not None:
        window = _instant("start", start), _instant("end", end)
    else:
        raise _bad('expected either "period" or both "start" and "end"')
    if window[1] < window[0] or window[1] - window[0] > _LONGEST_WINDOW_SECONDS:
        raise _bad("expected a window of at most 92 days that does not end before it starts")
    return window


def _instant(name: str, text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _bad(f'"{name}" expected an ISO-8601 date') from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _whole(request: Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isascii() or not text.isdecimal() or not least <= int(text[:12]) <= most:
        raise _bad(f'"{name}" expected an integer from {least} to {most}')
    return int(text)


async def billing(request: Request) -> Response:
    box = of(request)
    box.check_key(request)
    return JSONResponse({"current_balance": usd(box.balance_credits()), "currency": "USD"})


async def billing_detail(request: Request) -> Response:
    box = of(request)
    box.check_key(request)
    topup = {"is_enabled": False, "threshold": 0, "amount": 0, "currency": "USD"}
    balance = {"current_balance": usd(box.balance_credits()), "currency": "USD"}
    return JSONResponse({"user_id": 111, "email": "sandbox@example.com", **balance, "autotopup_settings": topup})


async def transactions(request: Request) -> Response:
    """List the account's movements, newest first: a charge for each finished generation, the first credit last."""
    box = of(request)
    box.check_key(request)
    limit = _whole(request, "limit", 50, 1, 100)
    wanted, direction = request.query_params.get("type"), request.query_params.get("direction")
    if wanted not in (None, *_TYPES) or direction not in (None, "TOPUP", "CHARGE"):
        raise _bad('"type" or "direction" is none of the documented ones')
    given = request.query_params
    since = _instant("from", given["from"]) if "from" in given else -math.inf
    until = min(_instant("to", given["to"]) if "to" in given else math.inf, box.now)
    before = _position(given.get("cursor"))
    entries: list[Charge] = []
    if wanted in (None, "MODEL_USAGE") and direction != "TOPUP":
        entries = box.store.charges(since=since, until=until, before=before, limit=limit + 1)
    if wanted in (None, "INIT") and direction != "CHARGE" and since <= box.began < until and (box.began, 0) < before:
        entries = sorted([*entries, _first_credit(box)], key=lambda entry: entry[1::-1], reverse=True)
    shown, has_more = entries[:limit], len(entries) > limit
    cursor = _cursor(shown[-1]) if has_more else None
    pagination = {"next_cursor": cursor, "has_more": has_more}
    return JSONResponse({"data": [_movement(entry) for entry in shown], "pagination": pagination})


def _first_credit(box: Sandbox) -> Charge:
    return Charge(0, box.began, "", box.granted_credits, "")


def _movement(entry: Charge) -> dict[str, object]:
    """Return a ledger entry; sequence number 0 is the first credit."""
    return {
        "created_at": timestamp(entry.created),
        "direction": "CHARGE" if entry.seq else "TOPUP",
        "type": "MODEL_USAGE" if entry.seq else "INIT",
        "amount": {"usd": usd(entry.credits), "credits": entry.credits},
        "model": CANONICAL.get(entry.model, entry.model) or None,
        "reference_id": entry.inference_id or None,
    }


def _cursor(entry: Charge) -> str:
    return base64.urlsafe_b64encode(json.dumps([entry.created, entry.seq]).encode()).decode().rstrip("=")


def _position(cursor: str | None) -> tuple[float, int]:
    """Return where the next page begins; raise Refused (400) for a cursor that we did not issue."""
    if cursor is None:
        return math.inf, 0
    try:
        created, seq = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return float(created), int(seq)
    except (ValueError, TypeError):
        raise _bad('"cursor" expected a value issued as next_cursor') from None
