"""What a job will cost, before it is made: quoted from the price list that the workers keep in the database."""

from collections.abc import Mapping
from typing import Any

from app.api.deps import House
from app.catalogue.catalogue import Model
from app.db import deployment
from app.domain import money
from app.domain.errors import InvalidRequest
from app.domain.money import Estimate, micros_to_usd, usd_to_micros

Rules = Mapping[str, Any]


async def rules(house: House) -> Rules:
    """Return the price rules by model, at most half a minute old; the operator's own go first."""

    async def load() -> dict[str, Any]:
        _, found = await house.db.read(deployment.read_prices)
        return found

    return {**await house.prices.get(load), **house.own_prices}


def quote(model: Model, given: dict[str, Any], *, rules: Rules) -> Estimate:
    """Return the estimate of one job; unknown where there is no rule that can be read.

    Unknown as well for a model without a schema: a rule reads parameters of the input, and nobody has checked that the
    upstream reads them alike.
    """
    if not model.known:
        return money.UNKNOWN
    return money.quote(rules.get(model.id), model.effective(given))


def cap_of(max_cost_usd: float | None) -> int | None:
    """Return the caller's cap in micro-dollars."""
    return None if max_cost_usd is None else usd_to_micros(max_cost_usd)


def require_within(quoted: Estimate, *, cap_micros: int | None, is_kept: bool = False) -> None:
    """Raise InvalidRequest if the job would cost more than its cap, or if nobody can tell.

    `is_kept` says that the cap is an older job's, which this request cannot change.
    """
    if cap_micros is None or (quoted.micros is not None and quoted.micros <= cap_micros):
        return
    code, told = "price_unknown", "The price of this job is not known ahead"
    if quoted.micros is not None:
        code, told = "cost_limit_exceeded", f"This job is estimated at {micros_to_usd(quoted.micros)} USD"
    cap = f"'max_cost_usd' of {micros_to_usd(cap_micros)}"
    if is_kept:
        message = f"{told}, and it would keep the first job's {cap}. Make a new job with another limit, or without one."
    elif quoted.micros is None:
        message = f"{told}, so 'max_cost_usd' cannot be kept. Leave it out, or try later."
    else:
        message = f"{told}, above its {cap}."
    raise InvalidRequest(message, code=code, param=None if is_kept else "max_cost_usd")
