"""What only a sandbox can tell and do: everything it sold and to whom, its faults, its clock, its account."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.sandbox.answers import Refused, timestamp
from app.sandbox.faults import KNOWN, Odds
from app.sandbox.generations import Generation
from app.sandbox.intake import invalid
from app.sandbox.prices import usd
from app.sandbox.sandbox import Sandbox, of
from app.sandbox.store import PURCHASE_FILTERS

_LARGEST_PAGE = 20_000


async def ledger(request: Request) -> Response:
    """List every purchase in order, whether or not its buyer ever heard of it, and what was bought twice."""
    box = of(request)
    given = request.query_params
    try:
        filters: dict[str, Any] = {name: given[name] for name in PURCHASE_FILTERS if name in given}
        if "since" in filters:
            filters["since"] = float(filters["since"])
        limit, offset = min(int(given.get("limit", 1000)), _LARGEST_PAGE), int(given.get("offset", 0))
    except ValueError as wrong:
        raise Refused(400, f"ledger: {wrong}") from None
    purchases, count = box.store.purchases(filters, limit=limit, offset=offset)
    return JSONResponse(
        {
            "purchases": [_purchase(purchase, box.now) for purchase in purchases],
            "count": count,
            "has_more": offset + len(purchases) < count,
            "max_in_flight_seen": box.max_in_flight_seen,
            "duplicates": {
                "by_client_request_id": box.store.repeated_client_request_ids(),
                "by_prompt": box.store.repeated_prompts(),
            },
        }
    )


def _purchase(generation: Generation, now: float) -> dict[str, Any]:
    return {
        "generation_id": generation.id,
        "client_request_id": generation.client_request_id,
        "model": generation.model,
        "created": timestamp(generation.created),
        "ready": timestamp(generation.ready),
        "cost_credits": generation.cost_credits,
        "prompt": generation.prompt,
        "status": generation.phase(now),
        "faults": generation.faults,
    }


async def stats(request: Request) -> Response:
    """Sum up: generations by state, requests by kind, faults that struck, money."""
    box = of(request)
    return JSONResponse(
        {
            "generations": {"in_flight": 0, "completed": 0, "error": 0} | box.store.counts(box.now),
            "max_in_flight_seen": box.max_in_flight_seen,
            "requests": dict(box.requests),
            "faults_struck": box.faults.struck,
            "films_shot": box.studio.shot,
            "balance_usd": usd(box.balance_credits()),
            "spent_usd": usd(box.store.spent_credits(box.now)),
            "now": timestamp(box.now),
        }
    )


async def reset(request: Request) -> Response:
    of(request).reset()
    return Response(status_code=204)


async def show_faults(request: Request) -> Response:
    return JSONResponse({"active": _active(of(request)), "known": KNOWN})


async def set_faults(request: Request) -> Response:
    """Replace the odds: `{"name": probability}` or `{"name": {"probability", "value", "times"}}`; `{}` clears them."""
    box = of(request)
    try:
        given = await request.json()
        box.faults.replace_odds({name: read_odds(chance) for name, chance in given.items()})
    except (ValueError, TypeError, AttributeError, KeyError) as wrong:
        raise invalid(str(wrong)) from None
    return JSONResponse({"active": _active(box)})


def read_odds(given: Any) -> Odds:
    """Read one fault's odds; raise ValueError, TypeError or KeyError for what are none."""
    if not isinstance(given, dict):
        return Odds(float(given))
    value, times = given.get("value"), given.get("times")
    return Odds(
        float(given.get("probability", 1.0)),
        None if value is None else str(value),
        None if times is None else int(times),
    )


def _active(box: Sandbox) -> dict[str, Any]:
    return {
        name: {"probability": chance.probability, "value": chance.value, "times": chance.times}
        for name, chance in box.faults.odds.items()
    }


async def set_balance(request: Request) -> Response:
    """Let the account hold `{"usd": amount}` from now on."""
    box = of(request)
    box.set_balance(await _amount(request, "usd"))
    return JSONResponse({"current_balance": usd(box.balance_credits())})


async def advance(request: Request) -> Response:
    """Put the sandbox's clock forward by `{"seconds": n}`: generations finish, URLs expire, log rows appear."""
    box = of(request)
    box.advance(await _amount(request, "seconds"))
    return JSONResponse({"now": timestamp(box.now)})


async def _amount(request: Request, name: str) -> float:
    try:
        amount = float((await request.json())[name])
    except (ValueError, TypeError, KeyError):
        raise invalid(f'"{name}" expected number') from None
    if not 0 <= amount < 1e12:
        raise invalid(f'"{name}" expected a number that is not negative')
    return amount
