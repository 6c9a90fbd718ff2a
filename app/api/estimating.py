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
    """Return the estimate of one job; unknown where there is no rule that can be read."""
    return money.quote(rules.get(model.id), model.effective(given))


def cap_of(max_cost_usd: float | None) -> int | None:
    """Return the caller's cap in micro-dollars."""
    return None if max_cost_usd is None else usd_to_micros(max_cost_usd)


def require_within(quoted: Estimate, *, cap_micros: int | None) -> None:
    """Raise InvalidRequest if the job would cost more than its cap, or if nobody can tell."""
    if cap_micros is None:
        return
    if quoted.micros is None:
        raise InvalidRequest(
            "The price of this job is not known ahead, so 'max_cost_usd' cannot be kept. Leave it out, or try later.",
            code="price_unknown",
            param="max_cost_usd",
        )
    if quoted.micros > cap_micros:
        raise InvalidRequest(
            f"This job is estimated at {micros_to_usd(quoted.micros)} USD, above its 'max_cost_usd' of "
            f"{micros_to_usd(cap_micros)}.",
            code="cost_limit_exceeded",
            param="max_cost_usd",
        )
